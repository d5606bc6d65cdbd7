/** @ts-ignore Only inngest 4 has it: with inngest 3 no topic of its kind exists either. */
import type { Realtime as Current } from 'inngest/realtime';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { resolveChannel, topicSchema, type ChannelLike } from '../../protocol/channel.js';
import { RealtimeError } from '../../protocol/errors.js';
import type { InngestClient } from './token.js';

/** A topic of a channel of inngest 4: `channel.topic`, or `channel(params).topic`. */
export interface TopicRef {
	channel: string;
	topic: string;
	config: { schema: StandardSchemaV1 };
}

/** A topic of a channel of `@inngest/realtime`: `channel().topic`. */
export type TopicFunction = (
	data: never
) => Promise<{ channel: string; topic: string; data: unknown }>;

/** What can be published to. */
export type PublishTarget = TopicRef | TopicFunction;

/** What is published to a topic: the input of its schema. */
export type PublishData<TTarget extends PublishTarget> = TTarget extends (
	data: infer TData
) => unknown
	? TData
	: // Only the name of inngest's own type tells the payload; nothing in its shape does.
		TTarget extends Current.TopicRef<infer TData>
		? TData
		: unknown;

interface PublishApi {
	publish?: (
		target: { channel: string; topics: string[] },
		data: unknown
	) => Promise<{ ok: boolean; error?: { error?: string } }>;
}

/**
 * Publishes one message through Inngest's API, outside of a function.
 *
 * @throws {RealtimeError} `INVALID_MESSAGE` when the data does not match the topic's schema,
 *   `UNSUPPORTED` where the Inngest client cannot publish, `UPSTREAM` when Inngest refuses.
 */
export async function publish(
	inngest: InngestClient,
	registered: readonly ChannelLike[],
	target: PublishTarget,
	data: unknown
): Promise<void> {
	const { channel, topic } = typeof target === 'function' ? await target(data as never) : target;
	const schema =
		typeof target === 'function'
			? registeredSchema(registered, channel, topic)
			: target.config.schema;
	const result = await schema?.['~standard'].validate(data);
	if (result?.issues) {
		throw new RealtimeError(
			'INVALID_MESSAGE',
			`Not published: the data does not match the schema of topic "${topic}" of channel "${channel}": ${result.issues[0]?.message ?? 'invalid'}.`,
			{ cause: result.issues }
		);
	}
	const api = (inngest as unknown as { inngestApi: PublishApi }).inngestApi;
	if (typeof api.publish !== 'function') {
		throw new RealtimeError(
			'UNSUPPORTED',
			'This version of inngest cannot publish outside of a function; use inngest 3.42 or later.'
		);
	}
	// Inngest's client posts a text as it is, and one that looks like JSON would arrive as that.
	const body = typeof data === 'string' ? JSON.stringify(data) : data;
	const answer = await api
		.publish({ channel, topics: [topic] }, body)
		.catch((error: unknown) => ({ ok: false, error: { error: String(error) } }));
	if (!answer.ok) {
		throw new RealtimeError(
			'UPSTREAM',
			`Inngest did not take the message for topic "${topic}" of channel "${channel}": ${answer.error?.error ?? 'no reason given'}.`
		);
	}
}

/** A topic function does not show its schema; the registry does, if one entry alone can be meant. */
function registeredSchema(
	registered: readonly ChannelLike[],
	channel: string,
	topic: string
): StandardSchemaV1 | undefined {
	const candidates = registered.filter(({ topics }) => Object.hasOwn(topics, topic));
	const named = candidates.find((candidate) => isNamed(candidate, channel));
	const match = named ?? (candidates.length === 1 ? candidates[0] : undefined);
	return topicSchema(match?.topics[topic]);
}

function isNamed(candidate: ChannelLike, channel: string): boolean {
	try {
		return resolveChannel(candidate).name === channel;
	} catch {
		return false;
	}
}
