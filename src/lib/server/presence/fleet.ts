import type { StreamsWhere } from '../backend/streams.js';

/** How long, in milliseconds, a question waits for the others, unless it says otherwise. */
export const ANSWER_TIMEOUT_MS = 2_000;

/** How a question is put. */
export interface FleetQuestionOptions<T> {
	/** Which streams it is about. Whoever is asked looks again for itself. */
	where?: StreamsWhere;
	/** Names the question. @default a random name */
	id?: string;
	/** @default {@link ANSWER_TIMEOUT_MS} */
	timeoutMs?: number;
	/** Whether the answers so far are all that is wanted. */
	isEnough?: (answers: readonly T[]) => boolean;
}

/**
 * Answers a question; `undefined` where there is nothing to say.
 *
 * @param stream The one stream that is asked, where each is asked by itself.
 */
export type FleetHandler<TStream> = (data: unknown, stream?: TStream) => unknown;

/** All who serve streams of the same app: other processes, or on Cloudflare other isolates. */
export interface Fleet {
	/** From now on the others are answered. */
	listen(): void;
	/**
	 * Asks everybody, this process first.
	 *
	 * @returns the answers, without those that did not come in time.
	 * @throws {RealtimeError} `BACKEND` when the others cannot be reached; this process has answered.
	 */
	ask<T>(question: string, data: unknown, options?: FleetQuestionOptions<T>): Promise<T[]>;
	/** @returns how many streams fit. @throws {RealtimeError} `BACKEND`, as `ask` does. */
	count(where: StreamsWhere): Promise<number>;
	close(): void;
}
