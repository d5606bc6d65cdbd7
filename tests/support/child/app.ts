/**
 * An app in a process of its own, served the way SvelteKit's Node adapter does. Driven over IPC; with
 * `SIGNALS=none` it handles no signal itself, with `SIGNALS=own` as a server does that is not the adapter's.
 */
import { getRequest, setResponse } from '@sveltejs/kit/node';
import type { RequestEvent } from '@sveltejs/kit';
import { Inngest } from 'inngest';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRealtime, type RealtimeEndpointOptions } from '../../../src/lib/server/index.js';
import { demoChannel } from '../channels.js';

/** What the parent asks. */
export type Question = 'stats' | 'memory';

/** What the parent says at the start. */
export interface AppOptions extends Pick<RealtimeEndpointOptions, 'replay' | 'limits'> {
	engineUrl: string;
}

const { engineUrl, ...options } = JSON.parse(process.env.APP_OPTIONS!) as AppOptions;
const realtime = createRealtime({
	...options,
	inngest: new Inngest({ id: 'child', baseUrl: engineUrl, isDev: true }),
	channels: {
		demo: {
			channel: demoChannel,
			authorize: ({ params }) => (params.wait ? new Promise<boolean>(answerLater) : true)
		}
	},
	onFailure: () => {}
});

function answerLater(resolve: (allowed: boolean) => void): void {
	process.send!({ authorizing: true });
	setTimeout(() => resolve(true), 300);
}

const { SIGNALS } = process.env;
let isStopping = false;

const server = createServer((req, res) => {
	// Once the server stops, connections are closed as they become idle.
	req.on('close', () => isStopping && server.closeIdleConnections());
	void (async () => {
		const request = await getRequest({ request: req, base: `http://${req.headers.host}` });
		const url = new URL(request.url);
		const event = { request, url, locals: {}, platform: { req }, route: { id: '/' } };
		const handler = request.method === 'POST' ? realtime.POST : realtime.GET;
		await setResponse(res, await handler(event as unknown as RequestEvent as never));
	})();
});

function shutDown(reason: NodeJS.Signals): void {
	isStopping = true;
	server.closeIdleConnections();
	const timer = setTimeout(() => server.closeAllConnections(), 30_000);
	server.close(() => {
		clearTimeout(timer);
		if (!SIGNALS) process.emit('sveltekit:shutdown' as never, reason as never);
		process.disconnect?.();
	});
}

if (SIGNALS !== 'none') {
	process.on('SIGTERM', shutDown);
	process.on('SIGINT', shutDown);
}

process.on('message', (question: Question) => {
	process.send!({ question, answer: question === 'stats' ? realtime.stats() : measure() });
});

/** Bytes held after everything that can be collected was. */
function measure(): { heap: number; rss: number } {
	for (let round = 0; round < 4; round++) globalThis.gc!();
	const { heapUsed, external, rss } = process.memoryUsage();
	return { heap: heapUsed + external, rss };
}

server.listen(0, '127.0.0.1', () => {
	process.send!({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
});
