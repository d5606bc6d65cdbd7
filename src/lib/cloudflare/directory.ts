import { RealtimeError } from '../protocol/errors.js';
import type { StreamDirectory, StreamEntry, StreamPresence } from '../server/backend/streams.js';
import type { LineEvents } from './line.js';
import type { ListenRequest, Part } from './wire.js';

/** Pause, in milliseconds, before the object is told a change again that did not reach it. */
const RETRY_MS = 1_000;

/** How the object is reached that knows all streams. */
export interface DirectoryLines {
	/** Its name. */
	readonly object: string;
	/** Whether there is no binding. An isolate then knows only its own streams. */
	isMissing(): boolean;
	call(part: Part, method: string, args: readonly unknown[]): Promise<unknown>;
	listen(request: () => ListenRequest, events: LineEvents): () => void;
}

/** The open streams of all isolates, as an isolate reaches them. */
export function streamDirectory(lines: DirectoryLines): StreamDirectory {
	const { object, isMissing, call, listen } = lines;
	return {
		enter(entry, answer) {
			return isMissing() ? { update() {}, leave() {} } : new EnteredStream(lines, entry, answer);
		},
		ask(where, question, hear, signal) {
			if (isMissing()) return Promise.resolve();
			return new Promise((resolve, reject) => {
				const end = listen(
					() => ({ object, listen: 'ask', name: question.id, ask: { where, question } }),
					{
						line(line) {
							if (line.type === 'answer') hear(line.answer);
							else if (line.type === 'over') over();
						},
						broken(error) {
							end();
							reject(unreachable(error));
						}
					}
				);
				const over = (): void => {
					end();
					resolve();
				};
				signal.addEventListener('abort', over);
			});
		},
		async count(where) {
			if (isMissing()) return 0;
			try {
				return (await call('streams', 'count', [where])) as number;
			} catch (error) {
				throw unreachable(error);
			}
		}
	};
}

/** A stream of this isolate: its line to the object, which brings questions. It belongs to the stream's request. */
class EnteredStream implements StreamPresence {
	readonly #lines: DirectoryLines;
	readonly #answer: (question: string, data: unknown) => unknown;
	readonly #end: () => void;
	#entry: StreamEntry;
	/** What the object was told last; `undefined` while the line is broken. */
	#told: StreamEntry | undefined;
	#isTelling = false;
	#hasLeft = false;

	constructor(
		lines: DirectoryLines,
		entry: StreamEntry,
		answer: (question: string, data: unknown) => unknown
	) {
		this.#lines = lines;
		this.#entry = entry;
		this.#answer = answer;
		const { object, listen } = lines;
		let opened = entry;
		const request = (): ListenRequest => {
			opened = this.#entry;
			return { object, listen: 'stream', name: opened.name, entry: opened };
		};
		this.#end = listen(request, {
			line: (line) => {
				if (line.type === 'question') void this.#reply(line.id, line.question, line.data);
				else if (line.type === 'live') {
					this.#told = opened;
					void this.#tell();
				}
			},
			broken: () => (this.#told = undefined)
		});
	}

	update(entry: StreamEntry): void {
		this.#entry = entry;
		void this.#tell();
	}

	leave(): void {
		this.#hasLeft = true;
		this.#end();
	}

	/** Tells the object of changes, one call at a time. Changes that come meanwhile go together. */
	async #tell(): Promise<void> {
		if (this.#isTelling) return;
		this.#isTelling = true;
		while (this.#told && this.#told !== this.#entry && !this.#hasLeft) {
			const entry = this.#entry;
			try {
				await this.#lines.call('streams', 'update', [entry]);
				if (this.#told) this.#told = entry;
			} catch {
				await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
			}
		}
		this.#isTelling = false;
	}

	async #reply(id: string, question: string, data: unknown): Promise<void> {
		try {
			const answer = await this.#answer(question, data);
			await this.#lines.call('streams', 'answer', [id, this.#entry.name, answer]);
		} catch {
			// Whoever asked goes on without this answer.
		}
	}
}

function unreachable(cause: unknown): RealtimeError {
	if (cause instanceof RealtimeError) return cause;
	return new RealtimeError(
		'BACKEND',
		'The object that knows the streams of all isolates did not answer. The streams of this isolate were reached.',
		{ cause }
	);
}
