/** What to ask for. */
export interface StreamRequest {
	fetch: typeof globalThis.fetch | undefined;
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

/** The longest `Retry-After` that is followed, in milliseconds: one hour. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/**
 * Sends one request and reads the text of the stream that answers it. Ends with the stream, or early with
 * its `signal`; never rejects.
 *
 * @param onOpen Called when the answer is an event stream.
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
		const reader = response.body?.getReader();
		// A custom `fetch` may not pass the signal on, and WebKit loses one made by `AbortSignal.any`.
		const cancel = (): void => void reader?.cancel().catch(() => {});
		signal.addEventListener('abort', cancel);
		if (signal.aborted) {
			cancel();
			return undefined;
		}
		const type = response.headers.get('content-type') ?? '';
		const isStream = response.ok && reader && type.startsWith('text/event-stream');
		if (!isStream) return readRefusal(response, await readAll(reader));
		onOpen();
		await readText(reader, onText);
		return undefined;
	} catch (error) {
		return { message: `The realtime connection failed (${describe(error)}).`, error };
	}
}

async function readText(
	reader: ReadableStreamDefaultReader<Uint8Array>,
	onText: (text: string) => void
): Promise<void> {
	const decoder = new TextDecoder();
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return;
		onText(decoder.decode(value, { stream: true }));
	}
}

/** Useful or not, the whole body must be read: it holds one of the host's few connections. */
async function readAll(
	reader: ReadableStreamDefaultReader<Uint8Array> | undefined
): Promise<string> {
	let all = '';
	if (reader) await readText(reader, (text) => (all += text));
	return all;
}

function readRefusal(response: Response, body: string): StreamFailure {
	const { status, redirected, url, headers } = response;
	const location = redirected ? url : undefined;
	const from = location ? `redirected to ${location}, which answered` : 'answered';
	const type = headers.get('content-type') ?? 'nothing';
	const message =
		readMessage(body) ?? `The realtime endpoint ${from} ${status} ${type}, not an event stream.`;
	return { message, status, location, retryAfterMs: readRetryAfter(headers) };
}

/** The text in an error of this package (`{ error }`) or of SvelteKit (`{ message }`). */
function readMessage(body: string): string | undefined {
	try {
		const { error, message } = JSON.parse(body);
		const texts: unknown[] = [error, error?.message, message];
		return texts.find((text): text is string => typeof text === 'string' && text !== '');
	} catch {
		return undefined;
	}
}

/** It holds seconds or a date, which is measured by the server's own clock. */
function readRetryAfter(headers: Headers): number {
	const after = headers.get('retry-after') ?? '';
	const now = Date.parse(headers.get('date') ?? '') || Date.now();
	const ms = Number(after) * 1_000 || Date.parse(after) - now || 0;
	return Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}

function describe(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
