import type { RealtimeBus } from '../bus/bus.js';

/** The outcome of a request. */
export interface Posted {
	/** HTTP status; 0 if there was no answer. */
	status: number;
	/** Why it was refused. */
	message: string;
	/** Milliseconds that the server asks to wait. */
	retryAfterMs: number;
}

/** Sends a request other than subscriptions to the endpoint. Never rejects. */
export async function post(
	{ settings }: Pick<RealtimeBus, 'settings'>,
	body: object
): Promise<Posted> {
	const { endpoint, fetch = globalThis.fetch } = settings();
	// A bus without a network has no endpoint.
	if (endpoint === undefined) return { status: 204, message: '', retryAfterMs: 0 };
	try {
		const response = await fetch(endpoint, {
			method: 'POST',
			headers: { 'content-type': 'application/json', accept: 'application/json' },
			body: JSON.stringify(body)
		});
		const { status, headers, ok } = response;
		const text = await response.text();
		const retryAfterMs = Number(headers.get('retry-after')) * 1_000 || 0;
		return { status, message: ok ? '' : readError(text, status), retryAfterMs };
	} catch (error) {
		return { status: 0, message: (error as Error).message, retryAfterMs: 0 };
	}
}

function readError(text: string, status: number): string {
	try {
		const { error } = JSON.parse(text) as { error?: unknown };
		if (typeof error === 'string') return error;
	} catch {
		// The response is not from this package's endpoint.
	}
	return `The realtime endpoint answered ${status}.`;
}
