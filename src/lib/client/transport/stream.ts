/** What to ask for. */
export interface StreamRequest {
	fetch?: typeof globalThis.fetch;
	endpoint: string;
	body: string;
	signal: AbortSignal;
}

/** Why a stream did not come about, or broke. */
export interface StreamFailure {
	/** What happened, in words for people. */
	message: string;
	/** HTTP status of an answer that is no stream. */
	status?: number;
	/** Milliseconds that the server asks to wait. */
	retryAfterMs?: number;
	/** What was thrown. */
	error?: unknown;
}

/**
 * One request and the text of the stream it is answered with. Ends with the stream, or early with its
 * `signal`; never rejects.
 *
 * @param onOpen The answer is an event stream.
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
			headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
			body,
			signal
		});
		const type = response.headers.get('content-type') ?? '';
		if (!response.ok || !response.body || !type.startsWith('text/event-stream')) {
			return await readRefusal(response, type);
		}
		onOpen();
		const reader = response.body.getReader();
		const decoder = new TextDecoder();
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;
			onText(decoder.decode(value, { stream: true }));
		}
	} catch (error) {
		return { message: `The realtime connection failed (${(error as Error)?.message}).`, error };
	}
}

async function readRefusal(response: Response, type: string): Promise<StreamFailure> {
	const { status, headers } = response;
	// Of use or not, the body must be read: it holds one of the host's few connections.
	const body = (await response.json().catch(() => null)) as { error?: unknown } | null;
	const unlike = `The realtime endpoint answered ${status} ${type}, not an event stream.`;
	// It holds seconds or a date.
	const after = headers.get('retry-after') ?? '';
	const retryAfterMs = +after * 1000 || Date.parse(after) - Date.now() || 0;
	return { message: String(body?.error ?? unlike), status, retryAfterMs };
}
