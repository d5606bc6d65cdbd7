import type { IncomingMessage } from 'node:http';
import { decodeUtf8, isJson, quote, timestamp } from '../gojson.js';
import { parseUlid, streamId } from '../ids.js';
import type { Broadcaster } from './broadcaster.js';
import type { Message } from './message.js';

/** Most bytes of one message. A longer one is cut, and is then no longer valid JSON. */
export const MAX_MESSAGE_BYTES = 512 * 1024;
/** Most bytes of one piece of a data stream. */
export const PIECE_BYTES = 1_024;
/** Most pieces of a data stream. Further ones are not delivered. */
export const MAX_PIECES = 1_000;

/** The target of a message. */
export interface PublishTarget {
	channel: string;
	topic: string;
	/** The run that publishes. */
	runId?: string;
	/** JSON to send with it. */
	metadata?: string;
}

/** The target that the query of a publish request names. */
export function readTarget(query: URLSearchParams): PublishTarget {
	const runId = parseUlid(query.get('run_id'));
	const metadata = query.get('metadata');
	return {
		channel: query.get('channel') ?? '',
		topic: query.get('topic') ?? '',
		...(runId ? { runId } : {}),
		...(metadata ? { metadata } : {})
	};
}

/** Publishes a body: JSON as it was written, anything else as one JSON string. */
export function publishBody(broadcaster: Broadcaster, target: PublishTarget, body: Buffer): void {
	const cut = body.subarray(0, MAX_MESSAGE_BYTES);
	const data = isJson(cut) ? cut : Buffer.from(quote(decodeUtf8(cut)));
	publish(broadcaster, message('data', target, data));
}

/** Publishes the body of a request as a data stream while it arrives. */
export async function publishRequest(
	broadcaster: Broadcaster,
	target: PublishTarget,
	request: IncomingMessage
): Promise<void> {
	const stream = new DataStream(broadcaster, target);
	try {
		while (!stream.full && !request.readableEnded && !request.destroyed) {
			// Reads what has arrived, at most a piece: writes of the sender that arrive together become one
			// piece, as in the real server.
			const size = Math.min(PIECE_BYTES, request.readableLength);
			const piece = request.read(size || undefined) as Buffer | null;
			if (piece) stream.write(piece);
			else await arrival(request);
		}
	} finally {
		// Do this even if the sender has gone: its data must still be delivered.
		stream.end();
		request.resume();
	}
}

/** Waits until there is more to read of a request, or it has ended. */
function arrival(request: IncomingMessage): Promise<void> {
	return new Promise((resolve) => {
		const events = ['readable', 'end', 'close', 'error'] as const;
		const done = (): void => {
			for (const event of events) request.off(event, done);
			resolve();
		};
		for (const event of events) request.on(event, done);
	});
}

/** Publishes texts or bytes as a data stream, each cut into pieces. */
export async function publishIterable(
	broadcaster: Broadcaster,
	target: PublishTarget,
	source: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>
): Promise<void> {
	const stream = new DataStream(broadcaster, target);
	try {
		for await (const item of source) {
			const bytes = typeof item === 'string' ? Buffer.from(item) : item;
			for (let at = 0; at < bytes.length && !stream.full; at += PIECE_BYTES) {
				stream.write(bytes.subarray(at, at + PIECE_BYTES));
			}
			if (stream.full) break;
		}
	} finally {
		stream.end();
	}
}

/** A data stream that has been announced. Its creator ends it, once. */
class DataStream {
	readonly #broadcaster: Broadcaster;
	readonly #start: Message;
	readonly #id = streamId();
	#pieces = 0;

	constructor(broadcaster: Broadcaster, target: PublishTarget) {
		this.#broadcaster = broadcaster;
		this.#start = message('datastream-start', target, Buffer.from(quote(this.#id)));
		publish(broadcaster, this.#start);
	}

	get full(): boolean {
		return this.#pieces >= MAX_PIECES;
	}

	write(piece: Uint8Array): void {
		this.#pieces++;
		this.#broadcaster.publishChunk(this.#start, this.#id, decodeUtf8(piece));
	}

	end(): void {
		publish(this.#broadcaster, { ...this.#start, kind: 'datastream-end' });
	}
}

function message(kind: Message['kind'], target: PublishTarget, data: Buffer): Message {
	return {
		kind,
		channel: target.channel,
		topic: target.topic,
		data,
		createdAt: timestamp(),
		...(target.runId ? { runId: target.runId } : {}),
		...(target.metadata ? { metadata: Buffer.from(target.metadata) } : {})
	};
}

function publish(broadcaster: Broadcaster, message: Message): void {
	// Metadata is sent unchanged, and invalid JSON would make the whole message unreadable.
	if (message.metadata && !isJson(message.metadata)) return;
	broadcaster.publish(message);
}
