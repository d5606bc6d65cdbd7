import { createServer } from 'node:http';
import { realtimeMiddleware } from '@inngest/realtime/middleware';
import { Inngest } from 'inngest';
import type { InngestFunction } from 'inngest';
import { serve } from 'inngest/node';
import { freePort } from '../../../support/ports.js';
import { unique } from './engine.js';
import type { TestEngine } from './engine.js';

const silent = { info() {}, warn() {}, error() {}, debug() {} };

export function createClient(engine: TestEngine) {
	return new Inngest({
		id: unique('app'),
		isDev: true,
		baseUrl: engine.url,
		eventKey: 'test',
		logger: silent,
		middleware: [realtimeMiddleware()]
	});
}

export type TestClient = ReturnType<typeof createClient>;

/** An app that serves Inngest functions from this process. */
export interface TestApp {
	url: string;
	close(): Promise<void>;
}

/** Serves functions to an engine, at a port of their own. */
export async function serveApp(
	{ url }: TestEngine,
	client: TestClient,
	functions: InngestFunction.Any[],
	port?: number
): Promise<TestApp> {
	// Without `baseUrl` the environment would decide, which may name another engine.
	const server = createServer(serve({ client, functions, baseUrl: url }));
	const own = port || (await freePort());
	await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve));
	const close = (): Promise<void> =>
		new Promise((resolve) => {
			server.close(() => resolve());
			server.closeAllConnections();
		});
	return { url: `http://127.0.0.1:${own}/api/inngest`, close };
}

/** Asks the app to register with its engine. */
export async function registerApp(app: TestApp): Promise<Response> {
	return fetch(app.url, {
		method: 'PUT',
		body: '{}',
		headers: { 'content-type': 'application/json' }
	});
}

/** A promise that a function under test settles: what it has to tell. */
export function signal<T>(): { promise: Promise<T>; resolve(value: T): void } {
	let resolve!: (value: T) => void;
	const promise = new Promise<T>((settle) => (resolve = settle));
	return { promise, resolve };
}
