import { createParser, type EventSourceMessage } from 'eventsource-parser';

/** What to ask for, and who is told what comes. */
export interface StreamOptions {
	fetch: typeof globalThis.fetch;
	endpoint: string;
	body: string;
	signal: AbortSignal;
	/** The answer is an event stream. */
	onOpen(): void;
	onEvent(event: EventSourceMessage): void;
	/** The server's `retry:`, in milliseconds. */
	onRetry(ms: number): void;
	/** Something came, be it a comment. */
	onActivity(): void;
}

/** How a stream ended. */
export type StreamEnd =
	/** The server finished it. */
	| { type: 'ended' }
	/** The network failed. */
	| { type: 'failed'; error: unknown }
	/** The answer was no stream. */
	| { type: 'refused'; status: number; message: string; retryAfterMs?: number };

/** One request and the stream it is answered with. Never rejects; ends early with its `signal`. */
export async function readStream(options: StreamOptions): Promise<StreamEnd> {
	try {
		const response = await options.fetch(options.endpoint, {
			method: 'POST',
			headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
			body: options.body,
			cache: 'no-store',
			signal: options.signal
		});
		const type = response.headers.get('content-type') ?? '';
		if (!response.ok || !response.body || !type.startsWith('text/event-stream')) {
			return await readRefusal(response, type);
		}
		options.onOpen();
		const parser = createParser({ onEvent: options.onEvent, onRetry: options.onRetry });
		const decoder = new TextDecoder();
		const reader = response.body.getReader();
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return { type: 'ended' };
			options.onActivity();
			parser.feed(decoder.decode(value, { stream: true }));
		}
	} catch (error) {
		return { type: 'failed', error };
	}
}

async function readRefusal(response: Response, type: string): Promise<StreamEnd> {
	const { status } = response;
	let message: unknown;
	if (type.startsWith('application/json')) {
		const body: unknown = await response.json().catch(() => null);
		message = (body as { error?: unknown } | null)?.error;
	} else {
		// Unread, it would hold one of the host's few connections.
		await response.body?.cancel();
	}
	return {
		type: 'refused',
		status,
		message:
			typeof message === 'string'
				? message
				: `The realtime endpoint answered ${status} ${type}, not an event stream.`,
		retryAfterMs: readRetryAfter(response.headers.get('retry-after'))
	};
}

/** `Retry-After` in milliseconds: it holds seconds or a date. */
function readRetryAfter(value: string | null): number | undefined {
	if (!value) return undefined;
	const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
	return ms >= 0 ? ms : undefined;
}
