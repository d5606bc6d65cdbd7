import { RUN_TOPIC } from '../../protocol/constants.js';
import type { MessageKind } from '../../protocol/types.js';
import type { SourceMessage } from '../hub/source.js';
import { fingerprint } from './fingerprint.js';

/** A message of a topic, as Inngest delivered it. */
class InngestMessage implements SourceMessage {
	readonly kind: MessageKind;
	readonly channel: string;
	readonly topic: string;
	readonly data: unknown;
	readonly runId: string | undefined;
	readonly fnId: string | undefined;
	readonly envId: string | undefined;
	readonly createdAt: string | undefined;
	readonly streamId: string | undefined;
	readonly clientEventId: string | undefined;

	constructor(
		kind: MessageKind,
		raw: Record<string, unknown>,
		place: { channel: string; topic: string; streamId: string | undefined }
	) {
		this.kind = kind;
		this.channel = place.channel;
		this.topic = place.topic;
		this.data = raw.data;
		this.runId = text(raw.run_id);
		this.fnId = text(raw.fn_id);
		this.envId = text(raw.env_id);
		this.createdAt = text(raw.created_at);
		this.streamId = place.streamId;
		this.clientEventId = text((raw.metadata as { clientEventId?: unknown } | null)?.clientEventId);
	}

	key(): string {
		return fingerprint(this);
	}
}

/** The channel and topic of a data stream's pieces: a piece names only its stream. */
export type StreamTopics = Map<string, { channel: string; topic: string }>;

/** Most data streams remembered per socket; one that never ends must not be remembered for ever. */
const MAX_STREAMS = 10_000;

const text = (value: unknown): string | undefined =>
	typeof value === 'string' && value !== '' ? value : undefined;

/**
 * Reads one frame of the upstream socket.
 *
 * @param streams Open data streams of this socket; starts and ends are recorded here.
 * @returns the message, `closing` when the server asks to reconnect, `quiet` for a frame that carries
 *   nothing, `refused` for one that cannot be understood.
 */
export function decodeMessage(
	frame: string,
	streams: StreamTopics
): SourceMessage | 'closing' | 'quiet' | 'refused' {
	let raw: Record<string, unknown>;
	try {
		raw = JSON.parse(frame) as Record<string, unknown>;
	} catch {
		return 'refused';
	}
	if (typeof raw !== 'object' || raw === null) return 'refused';
	const kind = raw.kind;
	switch (kind) {
		case 'closing':
			return 'closing';
		case 'ping':
		case 'pong':
		case 'sub':
		case 'unsub':
			return 'quiet';
		case 'data':
		case 'step':
			return message(kind, raw, text(raw.channel), text(raw.topic));
		case 'run':
			return message(kind, raw, text(raw.channel), RUN_TOPIC);
		case 'datastream-start':
		case 'datastream-end': {
			const streamId = text(raw.data);
			const started = message(kind, raw, text(raw.channel), text(raw.topic), streamId);
			if (!streamId || started === 'refused') return 'refused';
			if (kind === 'datastream-end') streams.delete(streamId);
			else streams.set(streamId, { channel: started.channel, topic: started.topic });
			if (streams.size > MAX_STREAMS) streams.delete(streams.keys().next().value!);
			return started;
		}
		case 'chunk': {
			const streamId = text(raw.stream_id);
			const stream = streamId === undefined ? undefined : streams.get(streamId);
			if (typeof raw.data !== 'string') return 'refused';
			return message(kind, raw, stream?.channel, stream?.topic, streamId);
		}
		default:
			return 'refused';
	}
}

function message(
	kind: MessageKind,
	raw: Record<string, unknown>,
	channel: string | undefined,
	topic: string | undefined,
	streamId?: string
): SourceMessage | 'refused' {
	if (channel === undefined || topic === undefined) return 'refused';
	return new InngestMessage(kind, raw, { channel, topic, streamId });
}
