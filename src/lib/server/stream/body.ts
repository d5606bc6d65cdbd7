import { joinBytes } from '../hub/batch.js';
import { isWorkerd } from '../runtime/runtime.js';

/** What a body tells its connection. */
export interface BodyEvents {
	/** Read for the first time. */
	start(): void;
	/** The reader has taken everything and asks for more, or knows that there is no more. */
	drained(): void;
	/** The reader is gone. */
	cancel(): void;
}

type ReadResult = { done: boolean; value: Uint8Array | undefined };

const DONE: ReadResult = { done: true, value: undefined };

/**
 * How long, in milliseconds, chunks may wait in workerd. It reports that a client has left only if nothing
 * was waiting when it wrote: a stream of several channels would go on for ever.
 */
const STALLED_MS = 5_000;

/** Most bytes that are joined into one chunk. */
const CHUNK_BYTES = 256 * 1024;

/**
 * The body of one SSE response: the chunks that wait for its reader, joined when the reader asks for them.
 *
 * A server that reads with `getReader()`, as SvelteKit's adapters do, saves most of the work of a web stream
 * per chunk: there is one promise and no queue. Everything else (`pipeThrough` in a hook, `tee`, `for await`)
 * gets the plain stream, with the same chunks. Owned by its connection.
 */
export class ResponseBody {
	readonly stream: ReadableStream<Uint8Array>;
	readonly #events: BodyEvents;
	#controller!: ReadableStreamDefaultController<Uint8Array>;
	#queue: Uint8Array[] = [];
	#bytes = 0;
	/** Since when chunks have waited, in milliseconds since the epoch. */
	#waitingSinceMs = 0;
	#started = false;
	#wanted = false;
	#ended = false;
	#error: Error | undefined;
	/** The pending read of the direct reader. */
	#read: { resolve: (result: ReadResult) => void; reject: (error: Error) => void } | undefined;
	#isDirect = false;
	/** The direct reader knows about the end. */
	#isDone = false;

	constructor(events: BodyEvents) {
		this.#events = events;
		this.stream = new ReadableStream<Uint8Array>(
			{
				start: (controller) => void (this.#controller = controller),
				pull: () => this.#pull(),
				cancel: () => this.#cancel()
			},
			{ highWaterMark: 0 }
		);
		const getReader = this.stream.getReader.bind(this.stream);
		Object.defineProperty(this.stream, 'getReader', {
			value: (options?: ReadableStreamGetReaderOptions) =>
				options?.mode === undefined ? this.#directReader(getReader()) : getReader(options)
		});
	}

	/** Bytes that wait for the reader. */
	get bytes(): number {
		return this.#bytes;
	}

	/** Whether the reader has taken everything and waits for more. */
	get isDrained(): boolean {
		return this.#wanted && this.#queue.length === 0;
	}

	/** Whether the body has ended and its reader, as far as we can see, has read it to the end. */
	get isRead(): boolean {
		if (!this.#ended) return false;
		return this.#isDirect ? this.#isDone : (this.#controller.desiredSize ?? 0) >= 0;
	}

	push(chunk: Uint8Array): void {
		if (this.isDrained) {
			this.#deliver(chunk);
			return;
		}
		if (this.#queue.length === 0) this.#waitingSinceMs = Date.now();
		else if (isWorkerd && Date.now() - this.#waitingSinceMs > STALLED_MS) {
			this.error(new Error('The reader of this stream took nothing for a while; it can resume.'));
			return this.#events.cancel();
		}
		this.#queue.push(chunk);
		this.#bytes += chunk.length;
	}

	/** Ends the body; waiting chunks can still be read. */
	end(): void {
		if (this.#ended) return;
		this.#ended = true;
		if (!this.#isDirect) {
			while (this.#queue.length > 0) this.#controller.enqueue(this.#take());
		}
		this.#controller.close();
		this.#tellDone();
	}

	/** Ends the body with an error and drops the waiting chunks. */
	error(error: Error): void {
		this.#ended = true;
		this.#queue = [];
		this.#bytes = 0;
		this.#error = error;
		this.#isDone = true;
		this.#controller.error(error);
		this.#read?.reject(error);
	}

	/** Answers the pending read, if there is one. */
	#tellDone(): void {
		if (!this.#read) return;
		this.#isDone = true;
		this.#read.resolve(DONE);
	}

	#deliver(chunk: Uint8Array): void {
		this.#wanted = false;
		const read = this.#read;
		this.#read = undefined;
		if (read) read.resolve({ done: false, value: chunk });
		else this.#controller.enqueue(chunk);
	}

	#pull(): void {
		this.#wanted = true;
		this.#waitingSinceMs = Date.now();
		if (!this.#started) {
			this.#started = true;
			this.#events.start();
		} else if (this.#queue.length > 0) this.#deliver(this.#take());
		else this.#events.drained();
	}

	#cancel(): void {
		this.#ended = true;
		this.#queue = [];
		this.#bytes = 0;
		this.#tellDone();
		this.#events.cancel();
	}

	/** Joins waiting chunks, up to a limit, into one chunk. */
	#take(): Uint8Array {
		let bytes = 0;
		let count = 0;
		while (count < this.#queue.length && (count === 0 || bytes < CHUNK_BYTES)) {
			bytes += this.#queue[count++]!.length;
		}
		this.#bytes -= bytes;
		return joinBytes(this.#queue.splice(0, count));
	}

	/** `plain` keeps the stream locked, as its own reader would. */
	#directReader(
		plain: ReadableStreamDefaultReader<Uint8Array>
	): ReadableStreamDefaultReader<Uint8Array> {
		this.#isDirect = true;
		const read = (): Promise<ReadResult> => {
			if (this.#error) return Promise.reject(this.#error);
			if (this.#queue.length > 0 && this.#started) {
				return Promise.resolve({ done: false, value: this.#take() });
			}
			if (this.#ended) {
				this.#isDone = true;
				this.#events.drained();
				return Promise.resolve(DONE);
			}
			return new Promise((resolve, reject) => {
				this.#read = { resolve, reject };
				this.#pull();
			});
		};
		const reader = {
			read,
			cancel: (reason?: unknown) => plain.cancel(reason),
			releaseLock: () => {
				this.#isDirect = false;
				plain.releaseLock();
			},
			get closed() {
				return plain.closed;
			}
		};
		return reader as unknown as ReadableStreamDefaultReader<Uint8Array>;
	}
}
