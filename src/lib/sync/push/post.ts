import { DEFAULT_ENDPOINT } from '../../protocol/constants.js';
import type { EventAnswer, EventRefusal, EventRequest } from '../../protocol/event.js';
import type { SyncClientOptions } from '../options.js';

/** Sends a body to the endpoint. */
export type Post = (body: string, signal: AbortSignal) => Promise<Response>;

const headers = { 'content-type': 'application/json' };

/** Sends to the endpoint of a client: its own, or that of its bus. */
export function createPost({
	bus,
	endpoint,
	fetch
}: Pick<SyncClientOptions, 'bus' | 'endpoint' | 'fetch'>): Post {
	return (body, signal) => {
		// The bus may get other ones.
		const settings = bus?.settings();
		const url = endpoint ?? settings?.endpoint ?? DEFAULT_ENDPOINT;
		const send = fetch ?? settings?.fetch ?? globalThis.fetch;
		return send(url, { method: 'POST', headers, body, signal, cache: 'no-store' });
	};
}

/** What came of a request. */
export type Outcome<T> =
	| { result: T }
	/** The endpoint refused it: it would again. */
	| { refused: EventRefusal; status: number }
	/** It may do better later. A `status` of 0 is the network. */
	| { failed: string; status: number; retryAfterMs: number };

/** How long, in milliseconds, a request may take: its line may be dead. */
const ATTEMPT_MS = 30_000;

/** What our endpoint answers where the same request would be refused again. */
const FINAL = new Set([400, 409, 413, 422]);

/** Sends an event once. Never rejects. */
export async function request<T>(
	post: Post,
	event: EventRequest,
	signal: AbortSignal
): Promise<Outcome<T>> {
	const end = new AbortController();
	const abort = (): void => end.abort();
	const timer = setTimeout(abort, ATTEMPT_MS);
	signal.addEventListener('abort', abort);
	if (signal.aborted) abort();
	let status = 0;
	try {
		const response = await post(JSON.stringify(event), end.signal);
		({ status } = response);
		const retryAfterMs = Number(response.headers.get('retry-after')) * 1_000 || 0;
		const answer = (await response.json().catch(() => null)) as
			(Partial<EventAnswer> & Partial<EventRefusal>) | null;
		if (response.ok && answer?.status) return { result: answer.result as T };
		const text = answer?.error ?? `The endpoint answered ${status}, and not to the event.`;
		// In the middle of a deploy a new page may meet a server that does not know its version yet.
		const isEarly = event.v !== undefined && Number(answer?.version) < event.v;
		// Whoever has to sign in, or meets another server, has lost nothing.
		if (FINAL.has(status) && answer?.error && !isEarly)
			return { refused: { ...answer, error: text }, status };
		return { failed: text, status, retryAfterMs };
	} catch (error) {
		const text = `The endpoint could not be reached (${(error as Error)?.message}).`;
		return { failed: text, status, retryAfterMs: 0 };
	} finally {
		clearTimeout(timer);
		signal.removeEventListener('abort', abort);
	}
}
