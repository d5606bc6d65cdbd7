import type { StandardSchemaV1 } from '@standard-schema/spec';
import { topicSchema, type TopicDefinitions } from '../../protocol/channel.js';
import { CALLBACK_TIMEOUT_MS, CallbackError } from '../failure/callback.js';
import { whenReady, type Answer } from '../runtime/thenable.js';
import { askSchema } from './schema.js';
import type { SourceMessage } from './source.js';

/** The outcomes for messages, in the order in which they came. */
export interface ValidationEvents {
	/** The message, with the data that the schema returned. */
	valid(message: SourceMessage, data: unknown): void;
	/**
	 * The data does not match: `reason` holds the issues, or, with `callback`, why the schema gave no
	 * answer.
	 */
	invalid(message: SourceMessage, reason: unknown, callback?: 'schema'): void;
	/** Messages may be missing at this point. */
	gap(): void;
	/** A message was dropped because too many were waiting. `first` is set for the first of them. */
	overflow(first: boolean): void;
}

/** Most messages that may wait for an asynchronous schema. */
const MAX_WAITING = 10_000;

/**
 * Validates the messages of one channel with the schemas of their topics, in order. A schema that answers at
 * once is never awaited. While one is awaited, later messages wait. Owned by a feed.
 */
export class Validation {
	readonly #definitions: TopicDefinitions;
	readonly #events: ValidationEvents;
	readonly #maxWaiting: number;
	readonly #timeoutMs: number;
	/** Messages, and gaps as `null`. */
	#waiting: (SourceMessage | null)[] = [];
	#isBusy = false;
	#overflowed = false;

	constructor(
		definitions: TopicDefinitions,
		events: ValidationEvents,
		bounds: {
			/** Most messages that may wait for an asynchronous schema, or for `release`. */
			maxWaiting?: number | undefined;
			/** Time limit, in milliseconds, of a schema; after that the message is invalid. */
			timeoutMs?: number | undefined;
		} = {}
	) {
		this.#definitions = definitions;
		this.#events = events;
		this.#maxWaiting = bounds.maxWaiting ?? MAX_WAITING;
		this.#timeoutMs = bounds.timeoutMs ?? CALLBACK_TIMEOUT_MS;
	}

	push(message: SourceMessage): void {
		if (!this.#isBusy) {
			const validated = this.#validate(message);
			if (validated) void this.#drainAfter(validated);
		} else if (this.#waiting.length < this.#maxWaiting) this.#waiting.push(message);
		else {
			const first = !this.#overflowed;
			this.#overflowed = true;
			this.#events.overflow(first);
		}
	}

	/** Makes everything wait that comes from now on. */
	hold(): void {
		this.#isBusy = true;
	}

	/** Continues with what has waited since `hold`. */
	release(): void {
		this.#isBusy = false;
		this.#overflowed = false;
		for (const next of this.#waiting.splice(0)) {
			if (next) this.push(next);
			else this.gap();
		}
	}

	/** Announces a gap after the waiting messages. */
	gap(): void {
		if (this.#isBusy) this.#waiting.push(null);
		else this.#events.gap();
	}

	/** Drops the waiting messages. */
	clear(): void {
		this.#waiting = [];
	}

	/** @returns a promise only if the schema is asynchronous; it never rejects. */
	#validate(message: SourceMessage): void | Promise<void> {
		const { kind, data, topic } = message;
		const { valid, invalid } = this.#events;
		const fail = (error: unknown): void => {
			const isThrown = error instanceof CallbackError;
			invalid(message, isThrown ? error.cause : error, isThrown ? 'schema' : undefined);
		};
		let result: Answer<StandardSchemaV1.Result<unknown>>;
		try {
			const schema = kind === 'data' && topicSchema(this.#definitions[topic]);
			if (!schema) return valid(message, data);
			result = askSchema(schema, data, this.#timeoutMs);
		} catch (error) {
			return fail(error);
		}
		return whenReady(
			result,
			(result) => {
				if (result.issues) invalid(message, result.issues);
				else valid(message, result.value);
			},
			fail
		);
	}

	async #drainAfter(first: Promise<void>): Promise<void> {
		this.#isBusy = true;
		await first;
		for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
			if (next) await this.#validate(next);
			else this.#events.gap();
		}
		this.#isBusy = false;
		this.#overflowed = false;
	}
}
