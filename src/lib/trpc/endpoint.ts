import type { RequestEvent } from '@sveltejs/kit';
import type { Realtime } from '../server/index.js';
import { badInput } from './errors.js';

/** Headers that describe the body of tRPC's request, or its connection. */
const OF_BODY = [
	'connection',
	'content-encoding',
	'content-length',
	'last-event-id',
	'transfer-encoding'
];

/**
 * Calls the endpoint in this process, on behalf of a request to tRPC. So limits, rights and failures are the
 * same as for a page that uses HTTP.
 */
export async function ask(
	realtime: Pick<Realtime, 'POST'>,
	event: RequestEvent,
	body: object
): Promise<Response> {
	const headers = new Headers(event.request.headers);
	for (const name of OF_BODY) headers.delete(name);
	headers.set('content-type', 'application/json');
	const request = new Request(event.request.url, { method: 'POST', headers, body: toJson(body) });
	const own = Object.create(event, {
		request: { value: request, enumerable: true },
		// In development an endpoint is identified by its route, and tRPC's route is not that one.
		route: { value: { id: null }, enumerable: true }
	}) as Parameters<Realtime['POST']>[0];
	return realtime.POST(own);
}

function toJson(body: object): string {
	try {
		return JSON.stringify(body);
	} catch (error) {
		throw badInput(`The input cannot be sent as JSON: ${(error as Error).message}`);
	}
}
