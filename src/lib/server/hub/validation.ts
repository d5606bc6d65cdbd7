import type { StandardSchemaV1 } from '@standard-schema/spec';
import { topicSchema, type TopicDefinitions } from '../../protocol/channel.js';
import { whenReady, type Answer } from '../runtime/thenable.js';
import type { SourceMessage } from './source.js';

/** What becomes of messages, in the order in which they came. */
export interface ValidationEvents {
	/** The message, with its data as the schema gives it. */
	valid(message: SourceMessage, data: unknown): void;
	/** The data does not match: `reason` holds the issues, or what the schema threw. */
	invalid(message: SourceMessage, reason: unknown): void;
	/** Messages may be missing at this point. */
	gap(): void;
	/** A message was dropped because too many wait. `first` is set for the first of them. */
	overflow(first: boolean): void;
}

/** Messages that may wait for an asynchronous schema. */
const MAX_WAITING = 10_000;

/**
 * Validates the messages of one channel with the schemas of their topics, in order. A schema that
 * answers at once is never awaited; while one is awaited, what follows waits. Owned by a feed.
 */
export class Validation {
	readonly #definitions: TopicDefinitions;
	readonly #events: ValidationEvents;
	readonly #maxWaiting: number;
	/** Messages, and gaps as `null`. */
	#waiting: (SourceMessage | null)[] = [];
	#isBusy = false;
	#overflowed = false;

	constructor(
		definitions: TopicDefinitions,
		events: ValidationEvents,
		maxWaiting: number = MAX_WAITING
	) {
		this.#definitions = definitions;
		this.#events = events;
		this.#maxWaiting = maxWaiting;
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

	/** Announces a gap after the messages that wait. */
	gap(): void {
		if (this.#isBusy) this.#waiting.push(null);
		else this.#events.gap();
	}

	/** Forgets what waits. */
	clear(): void {
		this.#waiting = [];
	}

	/** @returns a promise only where the schema answers later; it never rejects. */
	#validate(message: SourceMessage): void | Promise<void> {
		const { kind, data, topic } = message;
		const { valid, invalid } = this.#events;
		let result: Answer<StandardSchemaV1.Result<unknown>>;
		try {
			const schema = kind === 'data' && topicSchema(this.#definitions[topic]);
			if (!schema) return valid(message, data);
			result = schema['~standard'].validate(data);
		} catch (error) {
			return invalid(message, error);
		}
		return whenReady(
			result,
			(result) => (result.issues ? invalid(message, result.issues) : valid(message, result.value)),
			(error) => invalid(message, error)
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
