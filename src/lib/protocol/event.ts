/** Events that a page sends, described once for page and server. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { RealtimeError } from './errors.js';
import type { Jsonify } from './types.js';

/** The channel that an event belongs to: a name, or a channel of either SDK generation. */
export type EventChannel = string | { name: string };

/** The definition of an event, for page and server. */
export interface EventDefinition<
	TSchema extends StandardSchemaV1 = StandardSchemaV1,
	TResult extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined,
	TName extends string = string
> {
	/** Its name, also in Inngest. */
	readonly name: TName;
	/** The schema of its data. A page sends the input; the handler gets the output. */
	readonly schema: TSchema;
	/** Version of the schema. */
	readonly version: number;
	/** What the handler returns; a page gets its output, after JSON. */
	readonly result: TResult;
	/** The channel that it belongs to. */
	readonly channel: EventChannel | ((data: never) => EventChannel) | undefined;
}

/** What a page sends: the input of the event's schema. */
export type EventInput<TEvent extends EventDefinition> = StandardSchemaV1.InferInput<
	TEvent['schema']
>;

/** What a handler gets: the output of the event's schema. */
export type EventData<TEvent extends EventDefinition> = StandardSchemaV1.InferOutput<
	TEvent['schema']
>;

/** What a handler returns: the input of the event's `result`, or anything if it has no `result`. */
export type EventReturn<TEvent extends EventDefinition> =
	TEvent['result'] extends StandardSchemaV1<infer TInput> ? TInput : unknown;

/** What a page gets: the output of the event's `result`, after JSON. */
export type EventResult<TEvent extends EventDefinition> =
	TEvent['result'] extends StandardSchemaV1<unknown, infer TOutput> ? Jsonify<TOutput> : unknown;

/** Options of `defineEvent`. */
export interface DefineEventOptions<
	TSchema extends StandardSchemaV1,
	TResult extends StandardSchemaV1 | undefined = undefined
> {
	/** The schema of the data, from any library that follows Standard Schema. */
	schema: TSchema;
	/**
	 * The channel that the event belongs to, or a function that reads it from the data. A page sends the
	 * events of one channel one after another; those without a channel, one after another per event.
	 */
	channel?: EventChannel | ((data: StandardSchemaV1.InferInput<TSchema>) => EventChannel);
	/**
	 * Version of the schema, from 1. Raise it when old pages cannot continue to send the old data. @default 1
	 */
	version?: number;
	/** What the handler returns. A page gets its output; without it, the result's type is `unknown`. */
	result?: TResult;
}

/** Most characters of an event's name. */
const MAX_NAME = 256;

/**
 * Describes an event that pages send. Put it in a file that both the page and the server import: it contains
 * no server code.
 *
 * @param name The name of the event, also in Inngest: `orders/create`.
 * @throws {RealtimeError} `INVALID_OPTION` when the name is empty or too long, `schema` or `result` is not a
 *   Standard Schema, or `version` is not a whole number from 1.
 * @example
 * ```ts
 * export const createOrder = defineEvent('orders/create', {
 *   schema: z.object({ product: z.string(), count: z.number().int() }),
 *   result: z.object({ orderId: z.string() })
 * });
 * ```
 */
export function defineEvent<
	const TSchema extends StandardSchemaV1,
	const TResult extends StandardSchemaV1 | undefined = undefined,
	const TName extends string = string
>(
	name: TName,
	options: DefineEventOptions<TSchema, TResult>
): EventDefinition<TSchema, TResult, TName> {
	const { schema, channel, version = 1, result } = options;
	if (typeof name !== 'string' || name === '' || name.length > MAX_NAME) {
		invalid(`An event needs a name of 1 to ${MAX_NAME} characters.`);
	}
	if (!isSchema(schema))
		invalid(`Event "${name}" needs a \`schema\` that follows Standard Schema.`);
	if (result !== undefined && !isSchema(result)) {
		invalid(`The \`result\` of event "${name}" does not follow Standard Schema.`);
	}
	if (!Number.isSafeInteger(version) || version < 1) {
		invalid(`The \`version\` of event "${name}" must be a whole number from 1, not ${version}.`);
	}
	return { name, schema, channel, version, result: result as TResult };
}

/**
 * The name of the channel that an event belongs to.
 *
 * @param data The input of its schema.
 */
export function eventChannel({ channel }: EventDefinition, data: unknown): string | undefined {
	// A channel definition is also a function. Without parameters, it has its name at once.
	const found = typeof channel === 'function' ? channel(data as never) : channel;
	return typeof found === 'object' ? found.name : found;
}

function isSchema(value: unknown): value is StandardSchemaV1 {
	const { '~standard': standard } = (value ?? {}) as { '~standard'?: { validate?: unknown } };
	return typeof standard?.validate === 'function';
}

function invalid(message: string): never {
	throw new RealtimeError('INVALID_OPTION', message);
}

/** Body of a POST that sends an event. */
export interface EventRequest {
	/** Name of the event. */
	event: string;
	/** Stays the same when the event is sent again: letters, digits and punctuation, at most 128. */
	id: string;
	/** Input of the event's schema. */
	data?: unknown;
	/** Version of the schema that the page was built with. @default the server's version */
	v?: number;
}

/** A message that an event's handler emitted. */
export interface EmittedMessage {
	channel: string;
	topic: string;
	/** Its position in the channel. */
	cursor: string;
}

/** The response to an accepted event. */
export interface EventAnswer {
	id: string;
	/** `done`: its handler ran; `queued`: it was sent to Inngest. */
	status: 'done' | 'queued';
	/** The result of the handler; absent if that was `undefined`. */
	result?: unknown;
	/** The messages that the handler emitted, in order. */
	emitted: EmittedMessage[];
}

/** Why data does not match a schema. */
export interface EventIssue {
	message: string;
	/** Where in the data: keys and indices from the outside in; empty for the data as a whole. */
	path: (string | number)[];
}

/** The response to a refused event. */
export interface EventRefusal {
	error: string;
	/** Distinguishes the two kinds of 409. */
	reason?: 'conflict' | 'outdated';
	/** The version that the server knows, if that of the page is `outdated`; during a deploy it may be older. */
	version?: number;
	/** The parts that do not match, with 422. */
	issues?: EventIssue[];
}
