import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Access } from './access.js';
import { acceptEvent, EventError, MAX_REQUEST_BYTES, parseEvents } from './events.js';
import type { DevEvent, DevEventInput } from './events.js';
import { encode } from './gojson.js';
import { dispatch, HttpError, readBody, readUrl, reply, replyText } from './http.js';
import type { Exchange, Routes } from './http.js';
import { publishBody, publishIterable } from './realtime/publish.js';
import { Realtime } from './realtime/realtime.js';
import { Registry } from './registry/registry.js';
import { Schedules } from './registry/schedules.js';
import { AppSync } from './registry/sync.js';
import { runRoutes } from './runs/api.js';
import { Dispatcher } from './runs/dispatcher.js';
import type { DevLogger, DevPublishInput, DevRun, InngestDev, InngestDevOptions } from './types.js';
import { readTrace } from './trace.js';
import type { Trace } from './trace.js';
import { EMBEDDED_VERSION } from './vite/discover.js';
import { Warnings } from './warnings.js';

/**
 * Starts an Inngest-compatible server in this process, for development and tests. It runs functions as the
 * real dev server does, but retries sooner: after 200 ms, then after twice as long each time, at most 5 s;
 * after 4 s if the app is unavailable. If a registration needs something that the engine does not support,
 * the engine refuses it or warns, and names the feature.
 *
 * @throws when the port is taken.
 */
export async function startInngestDev(options: InngestDevOptions = {}): Promise<InngestDev> {
	const { port = 0, host = '127.0.0.1', allowedHosts = [] } = options;
	const engine = new Engine(options.logger ?? console, new Access([host, ...allowedHosts]));
	await engine.listen(port, host);
	if (options.appUrl) engine.keep(options.appUrl);
	return engine;
}

/** Wires HTTP, events, runs and realtime; owns all of them. */
class Engine implements InngestDev {
	url = '';
	readonly #registry: Registry;
	readonly #dispatcher: Dispatcher;
	readonly #sync: AppSync;
	readonly #schedules: Schedules;
	readonly #realtime: Realtime;
	readonly #access: Access;
	readonly #server = createServer();
	#closed: Promise<void> | undefined;

	constructor(logger: DevLogger, access: Access) {
		const warnings = new Warnings(logger);
		this.#access = access;
		this.#schedules = new Schedules((id, event) => this.#dispatcher.startFunction(id, event));
		this.#registry = new Registry(warnings, logger, (functions) => {
			this.#schedules.update(functions);
		});
		this.#realtime = new Realtime(({ kind, channel, runId }) => {
			if (kind !== 'run' && runId) this.#dispatcher.publishes(runId, channel);
		});
		this.#sync = new AppSync(this.#registry, logger);
		this.#dispatcher = new Dispatcher(this.#registry, warnings, {
			publish: (message) => this.#realtime.broadcaster.publish(message),
			appIsAway: () => this.#sync.refresh()
		});
		const routes: Routes = {
			'GET /health': ({ response }) => reply(response, 200, { status: 200, message: 'OK' }),
			'GET /dev': (exchange) => this.#info(exchange),
			'POST /e/:': (exchange) => this.#receive(exchange),
			'POST /fn/register': (exchange) => this.#registry.register(exchange),
			'POST /v1/realtime/token': (exchange) => this.#realtime.token(exchange),
			'POST /v1/realtime/publish': (exchange) => this.#realtime.publish(exchange),
			'GET /v1/realtime/connect': (exchange) => this.#realtime.connect(exchange),
			'GET /v1/realtime/sse': (exchange) => this.#realtime.events(exchange),
			...runRoutes(this.#dispatcher)
		};
		this.#server.on('request', (request, response) => {
			void dispatch(routes, access, request, response);
		});
		this.#server.on('upgrade', (...upgrade) => this.#upgrade(...upgrade));
	}

	get port(): number {
		return Number(new URL(this.url).port);
	}

	get runs(): readonly DevRun[] {
		return this.#dispatcher.runs.map((run) => run.view());
	}

	get sockets(): number {
		return this.#realtime.sockets.size;
	}

	get subscriptions(): number {
		return this.#realtime.broadcaster.subscriptions;
	}

	listen(port: number, host: string): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#server.once('error', reject);
			this.#server.listen(port, host, () => {
				this.#server.off('error', reject);
				const { address, family, port } = this.#server.address() as AddressInfo;
				this.url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
				resolve();
			});
		});
	}

	keep(appUrl: string): void {
		this.#sync.keep(appUrl);
	}

	register(appUrl: string): Promise<boolean> {
		return this.#sync.register(appUrl);
	}

	async send(events: DevEventInput | DevEventInput[]): Promise<string[]> {
		// This is what the SDK does; a raw event without data keeps `null`.
		const complete = (event: DevEventInput) => ({ ...event, data: event.data ?? {} });
		return [events].flat().map((event) => this.#accept(acceptEvent(complete(event))));
	}

	publish({ data, ...target }: DevPublishInput): void {
		publishBody(this.#realtime.broadcaster, target, Buffer.from(encode(data ?? null)));
	}

	publishStream(...[target, source]: Parameters<InngestDev['publishStream']>): Promise<void> {
		return publishIterable(this.#realtime.broadcaster, target, source);
	}

	announceClosing(graceMs?: number): void {
		this.#realtime.announceClosing(graceMs);
	}

	dropSockets(): void {
		this.#realtime.drop();
	}

	failTokens(status: number | null): void {
		this.#realtime.tokenFailure = status;
	}

	holdPongs(held: boolean): void {
		this.#realtime.hold(held);
	}

	close(options: { graceMs?: number } = {}): Promise<void> {
		return (this.#closed ??= this.#end(options.graceMs ?? 0));
	}

	async #end(graceMs: number): Promise<void> {
		const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()));
		if (graceMs > 0) {
			this.#realtime.announceClosing(graceMs);
			await delay(graceMs);
		}
		this.#sync.close();
		this.#schedules.close();
		this.#dispatcher.close();
		this.#realtime.close();
		this.#server.closeAllConnections();
		await stopped;
	}

	/** `GET /dev`. An Inngest dev server is recognised by the shape of this answer. */
	#info({ response }: Exchange): void {
		const { apps, functions } = this.#registry;
		reply(response, 200, {
			version: EMBEDDED_VERSION,
			authed: false,
			startOpts: { autodiscover: false, urls: apps.map((app) => app.url) },
			functions: functions.map((fn) => fn.config),
			handlers: apps.map(({ url, sdk, framework }) => ({ url, sdk, framework })),
			isSingleNodeService: false,
			isMissingSigningKey: false,
			isMissingEventKeys: false,
			features: {}
		});
	}

	/** `POST /e/:key` */
	async #receive({ request, response }: Exchange): Promise<void> {
		const seed = [request.headers['x-inngest-event-id-seed']].flat()[0];
		const ids: string[] = [];
		const answer = (status: number, error?: string): void => {
			// Send one empty id if there are no others: the real server's list always has at least one.
			const body = { ids: ids.length > 0 ? ids : [''], status, ...(error ? { error } : {}) };
			replyText(response, status, encode(body) + '\n');
		};
		const body = await readBody(request, MAX_REQUEST_BYTES);
		const trace = readTrace(request.headers);
		try {
			for (const [index, event] of parseEvents(body).entries()) {
				ids[index] = this.#accept(acceptEvent(event, seed, index + 1), trace);
			}
		} catch (error) {
			if (!(error instanceof EventError)) throw error;
			return answer(400, error.message);
		}
		answer(200);
	}

	#accept(event: DevEvent, trace?: Trace): string {
		this.#dispatcher.receive(trace ? { ...event, trace } : event);
		return event.internalId;
	}

	#upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
		socket.on('error', () => socket.destroy());
		const refusal = this.#access.refuse(request.headers);
		if (refusal) return refuse(socket, '403 Forbidden', refusal);
		try {
			const url = readUrl(request);
			if (url.pathname === '/v1/realtime/connect') {
				return this.#realtime.upgrade(request, socket, head, url);
			}
		} catch (error) {
			if (!(error instanceof HttpError)) throw error;
		}
		refuse(socket, '404 Not Found', '');
	}
}

/** Answers a request for a socket with a failure. */
function refuse(socket: Duplex, status: string, text: string): void {
	socket.end(
		`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
			`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
	);
}
