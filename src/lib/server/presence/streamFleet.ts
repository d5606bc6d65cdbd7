import type { StreamDirectory, StreamsWhere } from '../backend/streams.js';
import {
	ANSWER_TIMEOUT_MS,
	type Fleet,
	type FleetHandler,
	type FleetQuestionOptions
} from './fleet.js';

/** What a fleet of streams is made with. */
export interface StreamFleetOptions<TStream> {
	directory: StreamDirectory;
	/** Names this isolate. */
	owner: string;
	/** By the name of the question. */
	handlers: Readonly<Record<string, FleetHandler<TStream>>>;
	/** Streams of this isolate that fit. */
	countOwn(where: StreamsWhere): number;
}

/**
 * Asks the streams of all isolates through the directory of the backend. The streams of this isolate are
 * asked directly.
 */
export class StreamFleet<TStream> implements Fleet {
	readonly #options: StreamFleetOptions<TStream>;

	constructor(options: StreamFleetOptions<TStream>) {
		this.#options = options;
	}

	/** Each stream listens for itself. */
	listen(): void {}

	close(): void {}

	async ask<T>(
		question: string,
		data: unknown,
		{
			where,
			id = crypto.randomUUID(),
			timeoutMs = ANSWER_TIMEOUT_MS,
			isEnough = () => false
		}: FleetQuestionOptions<T> = {}
	): Promise<T[]> {
		const { directory, owner, handlers } = this.#options;
		const answers: T[] = [];
		const over = new AbortController();
		const enough = new Promise<void>((resolve) => {
			over.signal.addEventListener('abort', () => resolve());
		});
		const hear = (answer: unknown): void => {
			if (answer !== undefined) answers.push(answer as T);
			if (isEnough(answers)) over.abort();
		};
		const own = (async () => hear(await handlers[question]!(data)))();
		const others = directory.ask(
			{ ...where, except: owner },
			{ id, question, data, timeoutMs },
			hear,
			over.signal
		);
		try {
			// Where the others cannot be reached, those here are waited for all the same.
			const all = Promise.allSettled([own, others]).then(() => Promise.all([own, others]));
			await Promise.race([all, enough]);
		} finally {
			over.abort();
		}
		return answers;
	}

	async count(where: StreamsWhere): Promise<number> {
		const { directory, owner, countOwn } = this.#options;
		return countOwn(where) + (await directory.count({ ...where, except: owner }));
	}
}
