import type { RequestEvent } from '@sveltejs/kit';
import type { Realtime } from '../server/index.js';
import { badInput } from './errors.js';

/** Headers that tell of the body of tRPC's request, or of its connection. */
const OF_BODY = [
	'connection',
	'content-encoding',
	'content-length',
	'last-event-id',
	'transfer-encoding'
];

/**
 * Asks the endpoint in this process, on behalf of a request to tRPC. So limits, rights and failures are those
 * of a page that asks by HTTP.
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
		// The route of tRPC is not the one that serves the endpoint, which development tells apart by it.
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
