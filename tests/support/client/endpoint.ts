import type { HealthPayload, ResyncReason } from '../../../src/lib/protocol/health.js';
import type { SubscriptionRequest } from '../../../src/lib/protocol/request.js';
import type { MessageKind } from '../../../src/lib/protocol/types.js';

/** One request that a client made, and the stream it is answered with, driven by the test. */
export class FakeStream {
	readonly url: string;
	readonly init: RequestInit;
	readonly #answer: (response: Response) => void;
	readonly #refuse: (error: unknown) => void;
	#controller: ReadableStreamDefaultController<Uint8Array> | undefined;
	#encoder = new TextEncoder();

	constructor(
		url: string,
		init: RequestInit,
		answer: (response: Response) => void,
		refuse: (error: unknown) => void
	) {
		this.url = url;
		this.init = init;
		this.#answer = answer;
		this.#refuse = refuse;
		init.signal?.addEventListener('abort', () => {
			const error = new DOMException('Aborted', 'AbortError');
			refuse(error);
			this.#controller?.error(error);
		});
	}

	/** What the client sent. */
	get body(): SubscriptionRequest & { subscriptions?: SubscriptionRequest[] } {
		return JSON.parse(String(this.init.body));
	}

	/** The channels that it asked for, whichever form it used. */
	get subscriptions(): SubscriptionRequest[] {
		return this.body.subscriptions ?? [this.body];
	}

	get aborted(): boolean {
		return this.init.signal?.aborted ?? false;
	}

	/** Answers with a stream. */
	open(): this {
		const body = new ReadableStream<Uint8Array>({
			start: (controller) => {
				this.#controller = controller;
			}
		});
		this.#answer(new Response(body, { headers: { 'content-type': 'text/event-stream' } }));
		return this;
	}

	/** Answers with an error. */
	refuse(status: number, error?: string, headers: Record<string, string> = {}): void {
		this.#answer(
			error === undefined
				? new Response(null, { status, headers })
				: Response.json({ error }, { status, headers })
		);
	}

	/** The network fails, before or after the answer. */
	fail(message = 'network error'): void {
		const error = new TypeError(message);
		this.#refuse(error);
		this.#controller?.error(error);
	}

	/** The server finishes the stream. */
	end(): void {
		this.#controller?.close();
	}

	write(text: string): this {
		return this.bytes(this.#encoder.encode(text));
	}

	bytes(bytes: Uint8Array): this {
		if (!this.aborted) this.#controller?.enqueue(bytes);
		return this;
	}

	event(name: string, data: unknown, id?: string): this {
		return this.write(
			`${id ? `id: ${id}\n` : ''}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
		);
	}

	health(
		channel: string,
		status: HealthPayload['status'],
		more: Partial<HealthPayload> = {}
	): this {
		return this.event('health', {
			ok: status === 'connected',
			status,
			ts: Date.now(),
			channel,
			...more
		});
	}

	message(
		channel: string,
		topic: string,
		data: unknown,
		id?: string,
		more: { kind?: MessageKind; streamId?: string; runId?: string } = {}
	): this {
		const createdAt = new Date().toISOString();
		return this.event('message', { channel, topic, data, createdAt, kind: 'data', ...more }, id);
	}

	resync(channel: string, reason: ResyncReason, id?: string): this {
		return this.event('resync', { channel, reason, ts: Date.now() }, id);
	}

	/** Opens, and says that all its channels are connected. */
	accept(cursor?: string, intervalMs?: number): this {
		this.open();
		for (const { channel, lastEventId } of this.subscriptions) {
			this.health(channel, 'connecting', { intervalMs });
			this.health(channel, 'connected', { cursor: cursor ?? lastEventId });
		}
		return this;
	}
}

/** A realtime endpoint without a network: its `fetch` hands every request to the test. */
export class FakeEndpoint {
	/** All requests so far. */
	readonly streams: FakeStream[] = [];
	/** Called with every request, to answer it by itself. */
	onRequest: ((stream: FakeStream, index: number) => void) | undefined;

	readonly fetch: typeof globalThis.fetch = (url, init = {}) =>
		new Promise((resolve, reject) => {
			const stream = new FakeStream(String(url), init, resolve, reject);
			this.streams.push(stream);
			this.onRequest?.(stream, this.streams.length - 1);
		});

	/** The newest request. */
	get last(): FakeStream {
		const stream = this.streams.at(-1);
		if (!stream) throw new Error('There was no request yet.');
		return stream;
	}

	/** Requests that are still open. */
	get open(): FakeStream[] {
		return this.streams.filter((stream) => !stream.aborted);
	}
}
