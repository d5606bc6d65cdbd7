/**
 * Channels of both SDK generations, recognized by their shape: `@inngest/realtime` 0.4 (a definition is
 * always a function, a topic has `getSchema()`) and `inngest/realtime` of inngest 4 (a static channel
 * is an object, a topic is `{ schema }`). Nothing of either SDK is imported at run time.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { RealtimeError } from './errors.js';

/** A topic of either generation. */
export type TopicDefinition =
	{ name: string; getSchema(): StandardSchemaV1 | undefined } | { schema: StandardSchemaV1 };

/** Topics of a channel, by name. */
export type TopicDefinitions = Record<string, TopicDefinition>;

/** A channel with its final name. */
export interface ChannelInstance {
	name: string;
	topics: TopicDefinitions;
}

/** A channel definition, called with its parameters for an instance. */
export interface ChannelBuilder {
	// Parameters are contravariant: `never` admits a builder with any parameter list.
	(...args: never[]): { name: string };
	topics: TopicDefinitions;
}

/** Everything that is accepted as a channel. */
export type ChannelLike = ChannelInstance | ChannelBuilder;

/**
 * Parameters of a channel builder: its only argument, or its arguments as a list. A channel without
 * parameters takes none. If the only argument is a list itself, wrap it: `[list]`.
 */
export type ChannelParams<TChannel extends ChannelLike> = TChannel extends (
	...args: infer TArgs extends readonly unknown[]
) => unknown
	? TArgs extends readonly []
		? undefined
		: TArgs extends readonly [infer TOnly]
			? OnlyParam<TOnly>
			: Readonly<TArgs>
	: undefined;

type OnlyParam<TOnly> = TOnly extends readonly unknown[]
	? readonly [TOnly]
	: TOnly | readonly [TOnly];

/** Name and topics of a channel of either generation. */
export interface ResolvedChannel {
	name: string;
	/** Names of the defined topics, sorted; empty for `typeOnlyChannel`, which lists none. */
	topics: string[];
	definitions: TopicDefinitions;
}

/**
 * The name and topics of a channel.
 *
 * @param channel A channel or a channel definition of either SDK generation.
 * @param params A builder's only argument, or a list of its arguments.
 * @throws {RealtimeError} `INVALID_OPTION` when `channel` is neither, or when parameters of its name are
 *   missing: everybody would share the channel `job:undefined`.
 */
export function resolveChannel(channel: ChannelLike, params?: unknown): ResolvedChannel {
	const name =
		typeof channel === 'function' ? builtName(channel, toArguments(params)) : givenName(channel);
	if (typeof name !== 'string' || name === '' || !channel.topics) {
		throw new RealtimeError('INVALID_OPTION', 'This is not a channel.');
	}
	return { name, topics: Object.keys(channel.topics).sort(), definitions: channel.topics };
}

function toArguments(params: unknown): readonly unknown[] {
	if (Array.isArray(params)) return params;
	return params === undefined ? [] : [params];
}

function givenName(channel: ChannelInstance | undefined): unknown {
	if (!channel || typeof channel.name === 'string') return channel?.name;
	// `typeOnlyChannel` returns a topic function for every unknown property, even `name`. The only way to its id
	// is the definition that `addTopic` returns; the added topic does no harm.
	const { addTopic } = channel as { addTopic?: (topic: { name: string }) => () => ChannelInstance };
	return addTopic?.({ name: '' })().name;
}

function builtName(channel: ChannelBuilder, args: readonly unknown[]): unknown {
	const build = channel as unknown as (...args: unknown[]) => { name: unknown };
	let name: unknown;
	let cause: unknown;
	try {
		({ name } = build(...args));
		const gaps = countGaps(name);
		// Neither SDK tells which parameters a builder takes. If the name has fewer gaps once everything is
		// present, a parameter is missing.
		if (!gaps || countGaps(build(...args.map(complete), ...Array(9).fill(PRESENT)).name) >= gaps)
			return name;
	} catch (error) {
		// Pass a builder's own error on, unless it came from missing parameters.
		if (args.length > 0 && name === undefined) throw error;
		cause = error;
	}
	throw new RealtimeError(
		'INVALID_OPTION',
		`Realtime channel "${name}" needs parameters that are missing: pass channelParams.`,
		{ cause }
	);
}

function countGaps(name: unknown): number {
	return String(name).split(/undefined|null/).length - 1;
}

/** A parameter that is present for any builder: it works as a text, an object and a function. */
const PRESENT: unknown = /* @__PURE__ */ new Proxy(() => PRESENT, {
	get: (_target, key) => (key === Symbol.toPrimitive ? () => '\0' : PRESENT)
});
/** A parameter with its missing fields filled in. */
function complete(value: unknown): unknown {
	if (typeof value !== 'object' || value === null) return value ?? PRESENT;
	return new Proxy(value, { get: (target, key) => Reflect.get(target, key) ?? PRESENT });
}

/** The schema a topic was defined with, if any. */
export function topicSchema(topic: TopicDefinition | undefined): StandardSchemaV1 | undefined {
	if (!topic) return undefined;
	return 'getSchema' in topic ? topic.getSchema() : topic.schema;
}
