import { getRequest, setResponse } from '@sveltejs/kit/node';
import type { RequestEvent, RequestHandler } from '@sveltejs/kit';
import { createServer, type Server } from 'node:http';
import { freePort } from './ports.js';

/** Handlers of one route, as a `+server.ts` exports them. */
export interface Handlers {
	GET?: RequestHandler;
	POST?: RequestHandler;
}

export interface TestServer {
	url: string;
	server: Server;
	close(): Promise<void>;
}

let routes = 0;

/**
 * Serves one route over real HTTP the way SvelteKit's Node adapter does: its own `getRequest` and
 * `setResponse`, and a `RequestEvent` with what the endpoint reads.
 *
 * @param locals Reads `event.locals` from the request, as a `handle` hook would.
 */
export async function serve(
	handlers: Handlers,
	options: {
		locals?: (request: Request) => unknown;
		port?: number;
		/** @default one of its own */
		routeId?: string;
		around?: (event: RequestEvent, next: () => Promise<Response>) => Promise<Response>;
		/** Bytes, as `BODY_SIZE_LIMIT` of the Node adapter. @default no limit */
		bodySizeLimit?: number;
	} = {}
): Promise<TestServer> {
	const routeId = options.routeId ?? `/test/${++routes}`;
	const server = createServer((req, res) => {
		void (async () => {
			const request = await getRequest({
				request: req,
				base: `http://${req.headers.host}`,
				...(options.bodySizeLimit && { bodySizeLimit: options.bodySizeLimit })
			});
			const url = new URL(request.url);
			const event = {
				request,
				url,
				locals: options.locals?.(request) ?? {},
				platform: { req },
				route: { id: routeId },
				params: {},
				getClientAddress: () => req.socket.remoteAddress ?? ''
			} as unknown as RequestEvent;
			const handler = request.method === 'POST' ? handlers.POST : handlers.GET;
			const next = async (): Promise<Response> =>
				handler ? handler(event as never) : new Response('Method not allowed', { status: 405 });
			await setResponse(res, await (options.around?.(event, next) ?? next()));
		})().catch((error: unknown) => res.destroy(error as Error));
	});
	const port = options.port || (await freePort());
	await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
	return {
		url: `http://127.0.0.1:${port}/`,
		server,
		close: () =>
			new Promise((resolve) => {
				server.close(() => resolve());
				server.closeAllConnections();
			})
	};
}
