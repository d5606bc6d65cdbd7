import type { RequestEvent } from '@sveltejs/kit';
import { tracked, type TrackedEnvelope } from '@trpc/server';
import { createEventParser } from '../client/transport/events.js';
import { readFrame } from '../client/transport/frames.js';
import { UNKNOWN_CURSOR } from '../protocol/cursor.js';
import type { Frame } from '../protocol/frame.js';
import type { Realtime } from '../server/index.js';
import { ask } from './endpoint.js';
import { comeBack, endOf, refusalOf } from './errors.js';
import type { RealtimeTrpcItem, RealtimeTrpcSubscription } from './types.js';

/**
 * Reads a channel for a subscriber. It never returns by itself, because tRPC takes that as the final end.
 * When a stream ends, it throws an error: one that makes the link come back, or one that tells the page why
 * not.
 */
export async function* subscribe(
	realtime: Pick<Realtime, 'POST'>,
	event: RequestEvent,
	{ channel, topics, params, lastEventId }: RealtimeTrpcSubscription,
	signal: AbortSignal | undefined
): AsyncGenerator<TrackedEnvelope<RealtimeTrpcItem>, void, void> {
	const after = lastEventId || undefined;
	const response = await ask(realtime, event, { channel, topics, params, lastEventId: after });
	const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
	if (!isStream || !response.body) throw await refusalOf(response);
	const reader = response.body.getReader();
	// tRPC cannot end a generator that is waiting, so the promise it waits for must settle.
	const cancel = (): void => void reader.cancel().catch(() => {});
	signal?.addEventListener('abort', cancel);
	if (signal?.aborted) cancel();
	const decoder = new TextDecoder();
	const frames: Frame[] = [];
	const parse = createEventParser(
		(event) => frames.push(readFrame(event, channel)),
		() => {}
	);
	/** Cursor to resume from after the last yielded item. */
	let position = after ?? UNKNOWN_CURSOR;
	try {
		for (;;) {
			const { done, value } = await next(reader);
			if (done) break;
			parse(decoder.decode(value, { stream: true }));
			for (const frame of frames.splice(0)) {
				position = frame.cursor || position;
				const item = itemOf(frame, position);
				if (item) yield tracked(position, item);
			}
		}
	} finally {
		signal?.removeEventListener('abort', cancel);
		cancel();
	}
	if (!signal?.aborted) throw comeBack();
}

/**
 * The stream of a reader that did not keep up is broken off; the reader comes back as after any other end.
 */
function next(
	reader: ReadableStreamDefaultReader<Uint8Array>
): Promise<{ done: boolean; value?: Uint8Array | undefined }> {
	return reader.read().catch(() => ({ done: true }));
}

/**
 * @returns `undefined` for a frame that only reports health.
 * @throws {TRPCError} if the endpoint ends the channel.
 */
function itemOf({ event, data }: Frame, cursor: string): RealtimeTrpcItem | undefined {
	if (event === 'message') return { ...data, cursor } as RealtimeTrpcItem;
	if (event === 'resync') return { ...data, kind: 'resync' };
	if (event === 'health' && data.status === 'degraded') throw endOf(data);
	return undefined;
}
