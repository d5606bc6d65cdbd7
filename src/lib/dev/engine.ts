import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { acceptEvent, EventError, MAX_EVENT_BYTES, parseEvents } from './events.js';
import type { DevEvent, DevEventInput } from './events.js';
import { encode } from './gojson.js';
import { dispatch, readBody, readUrl, reply, replyText } from './http.js';
import type { Exchange, Routes } from './http.js';
import { publishBody, publishIterable } from './realtime/publish.js';
import { Realtime } from './realtime/realtime.js';
import type { DevPublishInput, InngestDev, InngestDevOptions } from './types.js';

/**
 * Starts an Inngest-compatible server in this process, for development and tests.
 *
 * @throws when the port is taken.
 */
export async function startInngestDev(options: InngestDevOptions = {}): Promise<InngestDev> {
	const engine = new Engine();
	await engine.listen(options.port ?? 0, options.host ?? '127.0.0.1');
	return engine;
}

/** Wires HTTP, events, runs and realtime; owns all of them. */
class Engine implements InngestDev {
	readonly #realtime = new Realtime();
	readonly #routes: Routes = {
		'GET /health': ({ response }) => reply(response, 200, { status: 200, message: 'OK' }),
		'GET /dev': (exchange) => this.#info(exchange),
		'POST /e/:': (exchange) => this.#receive(exchange),
		'POST /v1/realtime/token': (exchange) => this.#realtime.token(exchange),
		'POST /v1/realtime/publish': (exchange) => this.#realtime.publish(exchange),
		'GET /v1/realtime/connect': (exchange) => this.#realtime.connect(exchange),
		'GET /v1/realtime/sse': (exchange) => this.#realtime.events(exchange)
	};
	readonly #server = createServer((request, response) => {
		void dispatch(this.#routes, request, response);
	});
	url = '';
	#closed: Promise<void> | undefined;

	constructor() {
		this.#server.on('upgrade', (request, socket, head) => {
			socket.on('error', () => socket.destroy());
			try {
				const url = readUrl(request);
				if (url.pathname !== '/v1/realtime/connect') throw new Error('no such socket');
				this.#realtime.upgrade(request, socket, head, url);
			} catch {
				socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
			}
		});
	}

	get port(): number {
		return Number(new URL(this.url).port);
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

	async send(events: DevEventInput | DevEventInput[]): Promise<string[]> {
		return [events].flat().map((event) => this.#accept(acceptEvent(event)));
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
		this.#realtime.close();
		this.#server.closeAllConnections();
		await stopped;
	}

	#info({ response }: Exchange): void {
		reply(response, 200, { version: 'dev', authed: false, functions: [], handlers: [] });
	}

	/** `POST /e/:key` */
	async #receive({ request, response }: Exchange): Promise<void> {
		const seed = request.headers['x-inngest-event-id-seed'];
		const ids: string[] = [];
		try {
			const body = await readBody(request, MAX_EVENT_BYTES * 2);
			for (const [index, event] of parseEvents(body).entries()) {
				ids[index] = this.#accept(acceptEvent(event, [seed].flat()[0], index + 1));
			}
		} catch (error) {
			if (!(error instanceof EventError)) throw error;
			const answer = { ids: ids.length ? ids : [''], status: 400, error: error.message };
			return replyText(response, 400, encode(answer) + '\n');
		}
		replyText(response, 200, encode({ ids: ids.length ? ids : [''], status: 200 }) + '\n');
	}

	#accept(event: DevEvent): string {
		return event.internalId;
	}
}
