import { RealtimeError } from '../protocol/errors.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import type { Registry } from './access/registry.js';
import type { Published } from './backend/backend.js';
import type { Hub } from './hub/hub.js';
import type { FeedSpec } from './hub/source.js';
import { checkOutgoing, describePlace } from './inngest/outgoing.js';
import { addressOf, type Address, type PublishTarget } from './inngest/target.js';

/** How long, in milliseconds, a backend remembers the key of an emitted message at least. */
const KEY_TTL_MS = 48 * 60 * 60 * 1_000;

/** Options of `emit`. */
export interface RealtimeEmitOptions {
	/**
	 * Names the message, so that it is published once however often it is emitted: Inngest retries
	 * functions. A backend remembers it as long as the channel's log, and at least 48 hours; without a
	 * backend, this process remembers the last 10,000 keys of a channel that has readers.
	 * @default a random one
	 */
	key?: string;
	/** A transaction of the database that is the backend: the message commits with it. */
	tx?: unknown;
}

/**
 * Publishes a message to all readers of a channel without Inngest.
 *
 * @throws {RealtimeError} `INVALID_MESSAGE`, `UNKNOWN_CHANNEL`, or `BACKEND`, which carries the key.
 */
export async function emit(
	hub: Hub,
	registry: Registry,
	target: PublishTarget,
	data: unknown,
	options: RealtimeEmitOptions = {}
): Promise<Published> {
	const { key = crypto.randomUUID(), tx } = options;
	// Nobody can use a random key again, once this call has succeeded.
	const keyTtlMs = options.key === undefined ? undefined : KEY_TTL_MS;
	const address = await addressOf(target, data, registry.channels);
	const { output } = await checkOutgoing(address, data);
	const { channel, topic } = address;
	const envelope: RealtimeTopicEnvelope = {
		channel,
		topic,
		data: output,
		createdAt: new Date().toISOString(),
		kind: 'data'
	};
	const event = {
		key: `emit\n${key}`,
		kind: 'message' as const,
		topic,
		payload: JSON.stringify(envelope)
	};
	const spec = specOf(registry, address);
	try {
		return await hub.emit(spec, event, {
			...(keyTtlMs !== undefined && { keyTtlMs }),
			...(tx !== undefined && { tx })
		});
	} catch (cause) {
		const text = `Not emitted to ${describePlace(address)}: ${(cause as Error).message} Emit it again with the key "${key}", and it is published once.`;
		throw Object.assign(new RealtimeError('BACKEND', text, { cause }), { key });
	}
}

/** The feed of a registered channel that has the topic. */
function specOf(registry: Registry, { channel, topic, definition }: Address): FeedSpec {
	const found = [...registry.entries].find(
		([, config]) => definition && config.channel.topics[topic] === definition
	);
	if (!found) {
		throw new RealtimeError(
			'UNKNOWN_CHANNEL',
			`Nothing was emitted: no entry of \`channels\` has topic "${topic}" of channel "${channel}". Add the channel to the registry of the endpoint.`
		);
	}
	const [entry, config] = found;
	const { topics: definitions } = config.channel;
	const topics = Object.keys(definitions).sort();
	return registry.feedSpec(
		{ entry, config, channel: { name: channel, topics, definitions } },
		topics
	);
}
