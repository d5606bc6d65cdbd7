import type { Failure } from './failure.js';

/** The response to a request that failed. */
export function failureResponse({ status, body, headers }: Failure, message: string): Response {
	return new Response(JSON.stringify({ error: message, ...body }), {
		status,
		headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers }
	});
}
