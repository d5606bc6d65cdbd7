import { createParser, type EventSourceMessage } from 'eventsource-parser';
import type { HealthPayload, ResyncPayload } from '../../src/lib/protocol/health.js';
import type { RealtimeTopicEnvelope } from '../../src/lib/protocol/types.js';

export type Frame =
	| { event: 'health'; id: string | undefined; data: HealthPayload }
	| { event: 'message'; id: string | undefined; data: RealtimeTopicEnvelope }
	| { event: 'resync'; id: string | undefined; data: ResyncPayload };

/** A stream that is read by a real SSE parser; every frame is kept. */
export class SseReader {
	readonly frames: Frame[] = [];
	readonly comments: string[] = [];
	readonly response: Response;
	/** Milliseconds of the last `retry:`. */
	retryMs: number | undefined;
	ended = false;
	#abort: AbortController;
	#waiting: (() => void)[] = [];

	constructor(response: Response, abort: AbortController) {
		this.response = response;
		this.#abort = abort;
		void this.#read();
	}

	get messages(): RealtimeTopicEnvelope[] {
		return this.frames.flatMap((frame) => (frame.event === 'message' ? [frame.data] : []));
	}

	/** The field `message` of each message's data. */
	get texts(): string[] {
		return this.messages.map(({ data }) => (data as { message: string }).message);
	}

	/** What was said about health, of one channel or of all. */
	health(channel?: string): HealthPayload[] {
		return this.frames.flatMap((frame) =>
			frame.event === 'health' && (channel === undefined || frame.data.channel === channel)
				? [frame.data]
				: []
		);
	}

	get statuses(): string[] {
		return this.frames.flatMap((frame) => (frame.event === 'health' ? [frame.data.status] : []));
	}

	get lastId(): string | undefined {
		return this.frames.findLast(({ id }) => id !== undefined)?.id;
	}

	/** Resolves with the first frame, from the first ever on, that `predicate` accepts. */
	async until(predicate: (frame: Frame) => boolean, what = 'a frame'): Promise<Frame> {
		await this.when(() => this.frames.some(predicate), what);
		return this.frames.find(predicate)!;
	}

	/** Resolves when `condition` holds; asked anew after each frame and at the end. */
	async when(condition: () => boolean, what = 'a condition'): Promise<void> {
		const deadline = Date.now() + 10_000;
		while (!condition()) {
			if (this.ended) throw new Error(`The stream ended before ${what}: ${this.describe()}`);
			const left = deadline - Date.now();
			if (left <= 0) throw new Error(`Waited in vain for ${what}: ${this.describe()}`);
			await new Promise<void>((resolve) => {
				const timer = setTimeout(resolve, left);
				this.#waiting.push(() => {
					clearTimeout(timer);
					resolve();
				});
			});
		}
	}

	connected(channel?: string): Promise<Frame> {
		return this.until(
			({ event, data }) =>
				event === 'health' &&
				data.status === 'connected' &&
				(channel === undefined || data.channel === channel),
			'`connected`'
		);
	}

	async end(): Promise<void> {
		while (!this.ended) await new Promise<void>((resolve) => this.#waiting.push(resolve));
	}

	close(): void {
		this.#abort.abort();
	}

	describe(): string {
		return JSON.stringify(this.frames.slice(-10));
	}

	async #read(): Promise<void> {
		const parser = createParser({
			onEvent: ({ event, id, data }: EventSourceMessage) => {
				this.frames.push({ event, id, data: JSON.parse(data) } as Frame);
			},
			onComment: (comment) => void this.comments.push(comment),
			onRetry: (retryMs) => (this.retryMs = retryMs)
		});
		const decoder = new TextDecoder();
		try {
			for await (const chunk of this.response.body as unknown as AsyncIterable<Uint8Array>) {
				parser.feed(decoder.decode(chunk, { stream: true }));
				this.#wake();
			}
		} catch {
			// A cut stream ends like a finished one; what it lacked shows in its frames.
		}
		this.ended = true;
		this.#wake();
	}

	#wake(): void {
		for (const resolve of this.#waiting.splice(0)) resolve();
	}
}

/** Sends `body` as JSON and reads the stream that answers. */
export async function openStream(
	url: string,
	body: unknown,
	headers: Record<string, string> = {},
	signal?: AbortSignal
): Promise<SseReader> {
	const abort = new AbortController();
	const response = await fetch(url, {
		method: 'POST',
		body: typeof body === 'string' ? body : JSON.stringify(body),
		headers: { 'content-type': 'application/json', ...headers },
		signal: signal ? AbortSignal.any([abort.signal, signal]) : abort.signal
	});
	if (response.status !== 200) {
		throw new Error(`${response.status} ${await response.text()}`);
	}
	return new SseReader(response, abort);
}

/** Reads a stream the way an `EventSource` asks for it. */
export async function openEventSource(
	url: string,
	headers: Record<string, string> = {}
): Promise<SseReader> {
	const abort = new AbortController();
	const response = await fetch(url, {
		headers: { accept: 'text/event-stream', ...headers },
		signal: abort.signal
	});
	if (response.status !== 200) {
		throw new Error(`${response.status} ${await response.text()}`);
	}
	return new SseReader(response, abort);
}
