/** What to ask for. */
export interface StreamRequest {
	fetch?: typeof globalThis.fetch;
	endpoint: string;
	body: string;
	signal: AbortSignal;
}

/** Why a stream could not be opened, or broke. */
export interface StreamFailure {
	/** What happened, in words for people. */
	message: string;
	/** HTTP status of an answer that is not a stream. */
	status?: number;
	/** Where the request was redirected to. */
	location?: string;
	/** Milliseconds that the server asks to wait. */
	retryAfterMs?: number;
	/** What was thrown. */
	error?: unknown;
}

/** The longest `Retry-After` that is respected, in milliseconds: one hour. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/**
 * Sends one request and reads the text of the stream in the response. Ends with the stream, or early with its
 * `signal`; never rejects.
 *
 * @param onOpen Called when the response is an event stream.
 * @returns why it failed; `undefined` when the server finished it.
 */
export async function readStream(
	{ fetch = globalThis.fetch, endpoint, body, signal }: StreamRequest,
	onOpen: () => void,
	onText: (text: string) => void
): Promise<StreamFailure | undefined> {
	try {
		const response = await fetch(endpoint, {
			method: 'POST',
			headers: {
				'content-type': 'application/json',
				accept: 'text/event-stream, application/json'
			},
			body,
			signal
		});
		const { ok, headers, body: stream } = response;
		if (signal.aborted) {
			await stream?.cancel();
			return undefined;
		}
		const isStream = ok && headers.get('content-type')?.startsWith('text/event-stream');
		// Always read the whole body: until then it holds one of the host's few connections.
		if (!isStream || !stream) return readRefusal(response, await response.text());
		const reader = stream.getReader();
		// A custom `fetch` may not pass the signal on, and WebKit drops one created by `AbortSignal.any`.
		signal.addEventListener('abort', () => reader.cancel().catch(() => {}));
		onOpen();
		const decoder = new TextDecoder();
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return undefined;
			onText(decoder.decode(value, { stream: true }));
		}
	} catch (error) {
		return { message: `The realtime connection failed (${(error as Error)?.message}).`, error };
	}
}

function readRefusal(response: Response, body: string): StreamFailure {
	const { status, redirected, url, headers } = response;
	const location = redirected ? url : undefined;
	const what = location
		? `redirected to ${location}`
		: `answered ${status} ${headers.get('content-type') ?? ''}`;
	const message = readMessage(body) ?? `The realtime endpoint ${what}, not an event stream.`;
	return { message, status, location, retryAfterMs: readRetryAfter(headers) };
}

/** The text in an error of this package (`{ error }`) or of SvelteKit (`{ message }`). */
export function readMessage(body: string): string | undefined {
	try {
		const { error, message } = JSON.parse(body);
		const texts: unknown[] = [error, error?.message, message];
		return texts.find((text) => text && typeof text === 'string') as string | undefined;
	} catch {
		return undefined;
	}
}

/** The header holds seconds or a date. A date is compared with the server's own clock. */
export function readRetryAfter(headers: Headers): number {
	const after = headers.get('retry-after') ?? '';
	const now = Date.parse(headers.get('date') ?? '') || Date.now();
	const ms = Number(after) * 1_000 || Date.parse(after) - now || 0;
	return Math.min(ms, MAX_RETRY_AFTER_MS);
}
