import { RealtimeError, type RealtimeErrorCode } from '../protocol/errors.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import type { Registry } from './access/registry.js';
import type { Published } from './backend/backend.js';
import type { HandlerEmit } from './events/events.js';
import type { Hub } from './hub/hub.js';
import type { FeedSpec } from './hub/source.js';
import { checkOutgoing, describePlace } from './inngest/outgoing.js';
import { addressOf, type Address, type PublishData, type PublishTarget } from './inngest/target.js';
import { inSpan, isTraced } from './runtime/spans.js';

/** Minimum time, in milliseconds, that a backend remembers the key of an emitted message. */
const KEY_TTL_MS = 48 * 60 * 60 * 1_000;

/** Codes of errors that would come again if the call was repeated. */
const IS_FINAL: ReadonlySet<RealtimeErrorCode> = new Set(['INVALID_OPTION', 'UNSUPPORTED']);

/** Options of `emit`. */
export interface RealtimeEmitOptions {
	/**
	 * Identifies the message, so that it is published once even if it is emitted several times: Inngest retries
	 * functions. A backend remembers it as long as the channel's log, and at least 48 hours; without a backend,
	 * this process remembers the last 10,000 keys of a channel that has readers.
	 * @default a random one
	 */
	key?: string;
	/** A transaction of the database behind `postgresBackend`: the message commits with it. */
	tx?: unknown;
}

/** `realtime.emit`. */
export type RealtimeEmit = <TTopic extends PublishTarget>(
	topic: TTopic,
	data: PublishData<TTopic>,
	options?: RealtimeEmitOptions
) => Promise<Published>;

/** `realtime.publish`. */
export type RealtimePublish = <TTopic extends PublishTarget>(
	topic: TTopic,
	data: PublishData<TTopic>
) => Promise<void>;

/**
 * Publishes a message to all readers of a channel without Inngest.
 *
 * @param handler The event handler that emits it, if any.
 * @throws {RealtimeError} `INVALID_MESSAGE`, `INVALID_OPTION`, `UNKNOWN_CHANNEL`, `UNSUPPORTED`, or
 *   `BACKEND`, which carries the key.
 */
export async function emit(
	hub: Hub,
	registry: Registry,
	target: PublishTarget,
	data: unknown,
	options: RealtimeEmitOptions = {},
	handler?: HandlerEmit
): Promise<Published> {
	const { key = crypto.randomUUID(), tx } = options;
	// Once this call has succeeded, nobody can use its random key again.
	const keyTtlMs = options.key === undefined ? undefined : KEY_TTL_MS;
	const address = await addressOf(target, data, registry.channels);
	const { output } = await checkOutgoing(address, data, registry.callbackTimeoutMs);
	const { channel, topic } = address;
	const envelope: RealtimeTopicEnvelope = {
		channel,
		topic,
		data: output,
		createdAt: new Date().toISOString(),
		kind: 'data',
		...(handler && { clientEventId: handler.clientEventId })
	};
	const event = {
		key: `emit\n${key}`,
		kind: 'message' as const,
		topic,
		payload: JSON.stringify(envelope)
	};
	const spec = specOf(registry, address);
	try {
		const attributes = { 'realtime.channel': channel, 'realtime.topic': topic };
		const published = await inSpan('realtime publish', attributes, () =>
			hub.emit(spec, event, {
				...(keyTtlMs !== undefined && { keyTtlMs }),
				...(tx !== undefined && { tx })
			})
		);
		if (isTraced() && !published.isDuplicate) {
			traceDelivery(hub.delivered(spec, published.cursor), attributes);
		}
		handler?.emitted({ channel, topic, cursor: published.cursor });
		return published;
	} catch (cause) {
		if (cause instanceof RealtimeError && IS_FINAL.has(cause.code)) throw cause;
		const why = cause instanceof Error ? cause.message : String(cause);
		const text = `Not emitted to ${describePlace(address)}: ${why} Emit it again with the key "${key}", and it is published once.`;
		throw Object.assign(new RealtimeError('BACKEND', text, { cause }), { key });
	}
}

/** A span from the moment a message is published until the readers of this process have it. */
function traceDelivery(
	delivered: Promise<number> | undefined,
	attributes: Record<string, string>
): void {
	if (!delivered) return;
	void inSpan('realtime deliver', attributes, async (span) => {
		span?.setAttribute('realtime.readers', await delivered);
	});
}

/** The feed of a registered channel that has the topic. */
function specOf(registry: Registry, { channel, topic, definition }: Address): FeedSpec {
	const [served, another] = registry.entriesOf(
		channel,
		({ channel: { topics } }) => definition !== undefined && topics[topic] === definition
	);
	const place = `topic "${topic}" of channel "${channel}"`;
	if (!served) {
		throw new RealtimeError(
			'UNKNOWN_CHANNEL',
			`Nothing was emitted: no entry of \`channels\` has ${place}. Add the channel to the registry of the endpoint.`
		);
	}
	if (another) {
		throw new RealtimeError(
			'UNKNOWN_CHANNEL',
			`Nothing was emitted: the entries "${served[0]}" and "${another[0]}" of \`channels\` may both have ${place}. Define the topic separately for each channel.`
		);
	}
	const [entry, config] = served;
	const { topics: definitions } = config.channel;
	const topics = Object.keys(definitions).sort();
	return registry.feedSpec(
		{ entry, config, channel: { name: channel, topics, definitions } },
		topics
	);
}
