import {
	fitsStream,
	type StreamEntry,
	type StreamsQuestion,
	type StreamsWhere
} from '../server/backend/streams.js';
import type { Line } from './wire.js';

/** Writes a line to an isolate. */
type Write = (line: Line) => void;

interface OpenStream {
	entry: StreamEntry;
	readonly write: Write;
}

/** A question that waits for its answers. */
interface Asked {
	/** Names of all streams that were asked. */
	readonly streams: ReadonlySet<string>;
	/** Those that have not answered. */
	readonly waiting: Set<string>;
	readonly write: Write;
}

/** The open streams of all isolates, in the object: finds them, and passes questions and answers on. */
export class Streams {
	readonly #open = new Map<string, OpenStream>();
	/** By the id of the question. */
	readonly #asked = new Map<string, Asked>();

	/** Streams and questions that are open. */
	get size(): { streams: number; questions: number } {
		return { streams: this.#open.size, questions: this.#asked.size };
	}

	/** A stream is open, or its line is back. @returns a function that takes it out. */
	enter(entry: StreamEntry, write: Write): () => void {
		const { name } = entry;
		const open = { entry, write };
		this.#open.set(name, open);
		return () => {
			// Its line may be back already.
			if (this.#open.get(name) !== open) return;
			this.#open.delete(name);
			for (const id of [...this.#asked.keys()]) this.answer(id, name, undefined);
		};
	}

	/** A stream has other channels. */
	update(entry: StreamEntry): void {
		const open = this.#open.get(entry.name);
		if (open) open.entry = entry;
	}

	count(where: StreamsWhere): number {
		return this.#find(where).length;
	}

	/**
	 * Puts a question to all streams that fit. Their answers are written, and that there are no more.
	 *
	 * @returns a function that ends it.
	 */
	ask(
		where: StreamsWhere,
		{ id, question, data, timeoutMs }: StreamsQuestion,
		write: Write
	): () => void {
		const streams = this.#find(where);
		const names = streams.map(({ entry }) => entry.name);
		const asked = { streams: new Set(names), waiting: new Set(names), write };
		this.#asked.set(id, asked);
		const timer = setTimeout(() => write({ type: 'over' }), timeoutMs);
		for (const stream of streams) stream.write({ type: 'question', id, question, data });
		this.#endIfAnswered(asked);
		return () => {
			clearTimeout(timer);
			if (this.#asked.get(id) === asked) this.#asked.delete(id);
		};
	}

	/** A stream has answered; `undefined` where it has nothing to say. */
	answer(id: string, stream: string, answer: unknown): void {
		const asked = this.#asked.get(id);
		if (!asked?.waiting.delete(stream)) return;
		if (answer !== undefined) asked.write({ type: 'answer', answer });
		this.#endIfAnswered(asked);
	}

	#endIfAnswered({ waiting, write }: Asked): void {
		if (waiting.size === 0) write({ type: 'over' });
	}

	#find(where: StreamsWhere): OpenStream[] {
		const asked = where.asked === undefined ? undefined : this.#asked.get(where.asked);
		if (where.asked !== undefined && !asked) return [];
		return [...this.#open.values()].filter(
			({ entry }) => fitsStream(entry, where) && (!asked || asked.streams.has(entry.name))
		);
	}
}
