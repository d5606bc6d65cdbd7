import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { SubscriptionRequest } from '../../src/lib/protocol/request.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import type { RealtimeServerFailureContext } from '../../src/lib/server/failure/report.js';
import type { RealtimeEndpointOptions } from '../../src/lib/server/options.js';
import type {
	RealtimeSource,
	SourceListener,
	SourceMessage
} from '../../src/lib/server/hub/source.js';
import {
	inngestSource,
	type InngestSourceOptions
} from '../../src/lib/server/inngest/inngestSource.js';
import type { InngestClient } from '../../src/lib/server/inngest/token.js';
import { demoChannel, userChannel } from './channels.js';
import { serve, type TestServer } from './server.js';
import { openStream, type SseReader } from './sse.js';

const realSetTimeout = setTimeout;
const realNow = performance.now.bind(performance);

/** Resolves when `condition` holds; works on under fake time. */
export async function until(condition: () => boolean, what: string): Promise<void> {
	const deadline = realNow() + 10_000;
	while (!condition()) {
		if (realNow() > deadline) throw new Error(`Waited in vain for ${what}.`);
		await new Promise((resolve) => realSetTimeout(resolve, 1));
	}
}

type Callback = (...args: unknown[]) => void;

/** Timers that the server's code has running, of whichever kind; others' are not counted. */
export class OwnTimers {
	readonly #running = new Set<unknown>();
	readonly #originals = { setTimeout, setInterval, clearTimeout, clearInterval };

	constructor() {
		const { setTimeout, setInterval, clearTimeout, clearInterval } = this.#originals;
		globalThis.setTimeout = ((callback: Callback, ms?: number, ...args: unknown[]) => {
			const timer = setTimeout(() => {
				this.#running.delete(timer);
				callback(...args);
			}, ms);
			return this.#started(timer);
		}) as typeof globalThis.setTimeout;
		globalThis.setInterval = ((callback: Callback, ms?: number, ...args: unknown[]) =>
			this.#started(setInterval(callback, ms, ...args))) as typeof globalThis.setInterval;
		globalThis.clearTimeout = ((timer: NodeJS.Timeout) => {
			this.#running.delete(timer);
			clearTimeout(timer);
		}) as typeof globalThis.clearTimeout;
		globalThis.clearInterval = ((timer: NodeJS.Timeout) => {
			this.#running.delete(timer);
			clearInterval(timer);
		}) as typeof globalThis.clearInterval;
	}

	get size(): number {
		return this.#running.size;
	}

	restore(): void {
		Object.assign(globalThis, this.#originals);
	}

	#started<T>(timer: T): T {
		if (new Error().stack?.includes('/src/lib/server/')) this.#running.add(timer);
		return timer;
	}
}

interface Topic {
	channel: string;
	name: string;
}

export interface TokenRequest {
	topics: Topic[];
	headers: IncomingHttpHeaders;
}

const ENV_ID = '00000000-0000-4000-b000-000000000000';
const keyOf = ({ channel, name }: Topic): string => `${channel}/${name}`;

/** One socket as a `ScriptedServer` sees it. */
export class ScriptedSocket {
	/** Topics it is subscribed to, as `channel/name`. */
	readonly topics = new Set<string>();
	/** Frames that it sent. */
	readonly frames: { kind: string; bytes: number }[] = [];
	/** Bytes of the token it connected with. */
	readonly tokenBytes: number;
	/** Pings that wait for `answerPings`. */
	readonly heldPings: Buffer[] = [];
	readonly socket: WebSocket;

	constructor(socket: WebSocket, tokenBytes: number) {
		this.socket = socket;
		this.tokenBytes = tokenBytes;
	}

	send(frame: unknown): void {
		this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
	}

	/** A message of a topic, whether subscribed or not. */
	message(channel: string, topic: string, data: unknown, createdAt = timestamp()): void {
		this.send({ kind: 'data', channel, topic, data, created_at: createdAt });
	}

	closing(): void {
		this.send({ kind: 'closing', data: '', created_at: timestamp(), topic: '' });
	}

	drop(): void {
		this.socket.terminate();
	}
}

let ticks = 0;

/** A time that no other message has. */
export function timestamp(): string {
	return `2026-01-01T00:00:00.${String(++ticks).padStart(9, '0')}Z`;
}

/** An Inngest realtime server that does as it is told, for faults that a real one shows rarely. */
export class ScriptedServer {
	readonly tokens: TokenRequest[] = [];
	/** All sockets there ever were. */
	readonly sockets: ScriptedSocket[] = [];
	/** Status of the answer to a token request; may take its time. */
	onToken: (request: TokenRequest) => number | Promise<number> = () => 201;
	/** Called before the upgrade is answered; `false` leaves it unanswered. */
	onUpgrade: () => boolean = () => true;
	/** Called when a socket is open and subscribed. */
	onOpen: (socket: ScriptedSocket) => void = () => {};
	/** Called before a `sub` or `unsub` is handled; `false` ignores it, as a server does that is closing. */
	onFrame: (socket: ScriptedSocket, kind: string) => boolean = () => true;
	/** Whether pings are answered when they come. */
	answersPings = true;
	/** Whether tokens can be read by who gets them. */
	readableTokens = true;
	readonly #granted = new Map<string, Topic[]>();
	readonly #upgraded = new Set<Duplex>();
	readonly #http = createServer();
	readonly #ws = new WebSocketServer({ noServer: true, autoPong: false, skipUTF8Validation: true });
	url = '';

	static async start(): Promise<ScriptedServer> {
		const server = new ScriptedServer();
		await new Promise<void>((resolve) => server.#http.listen(0, '127.0.0.1', resolve));
		server.url = `http://127.0.0.1:${(server.#http.address() as AddressInfo).port}`;
		return server;
	}

	private constructor() {
		this.#http.on('request', (request, response) => {
			void this.#token(request).then(([status, body]) => {
				response.writeHead(status, { 'content-type': 'application/json' });
				response.end(body);
			});
		});
		this.#http.on('upgrade', (request, socket, head) => {
			this.#upgraded.add(socket);
			socket.on('close', () => this.#upgraded.delete(socket));
			socket.on('end', () => socket.destroy());
			socket.on('error', () => socket.destroy());
			if (!this.onUpgrade()) return void socket.resume();
			const token = new URL(request.url ?? '', this.url).searchParams.get('token') ?? '';
			this.#ws.handleUpgrade(request, socket, head, (ws) => this.#opened(ws, token));
		});
	}

	/** Sockets that are open now. */
	get open(): ScriptedSocket[] {
		return this.sockets.filter(({ socket }) => socket.readyState === socket.OPEN);
	}

	/** Connections that are open or ask to be upgraded. */
	get connections(): number {
		return this.#upgraded.size;
	}

	get last(): ScriptedSocket {
		return this.sockets.at(-1)!;
	}

	/** Sends a message to all sockets that listen to its topic. */
	publish(channel: string, name: string, data: unknown): void {
		const createdAt = timestamp();
		for (const socket of this.open) {
			if (socket.topics.has(keyOf({ channel, name }))) {
				socket.message(channel, name, data, createdAt);
			}
		}
	}

	/** Answers all pings that were held. */
	answerPings(): void {
		for (const socket of this.open) {
			for (const payload of socket.heldPings.splice(0)) socket.socket.pong(payload);
		}
	}

	async close(): Promise<void> {
		for (const socket of this.#upgraded) socket.destroy();
		this.#http.closeAllConnections();
		await new Promise((resolve) => this.#http.close(resolve));
	}

	async #token(request: IncomingMessage): Promise<[number, string]> {
		let body = '';
		for await (const chunk of request) body += String(chunk);
		const topics = JSON.parse(body) as Topic[];
		const asked = { topics, headers: request.headers };
		this.tokens.push(asked);
		const status = await this.onToken(asked);
		if (status !== 201) return [status, JSON.stringify({ error: `scripted ${status}` })];
		const claims = {
			env: ENV_ID,
			topics: topics.map((topic) => ({ kind: 'run', env_id: ENV_ID, ...topic }))
		};
		const jwt = this.readableTokens
			? `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}.${'s'.repeat(43)}`
			: `opaque-${this.#granted.size}`;
		this.#granted.set(jwt, topics);
		return [201, JSON.stringify({ jwt })];
	}

	#opened(ws: WebSocket, token: string): void {
		const socket = new ScriptedSocket(ws, token.length);
		this.sockets.push(socket);
		for (const topic of this.#granted.get(token) ?? []) socket.topics.add(keyOf(topic));
		ws.on('error', () => {});
		ws.on('ping', (payload: Buffer) => {
			if (this.answersPings) ws.pong(payload);
			else socket.heldPings.push(payload);
		});
		ws.on('message', (data: Buffer) => {
			const { kind, data: content } = JSON.parse(String(data)) as { kind: string; data: unknown };
			socket.frames.push({ kind, bytes: data.length });
			if (!this.onFrame(socket, kind)) return;
			if (kind === 'sub') {
				for (const topic of this.#granted.get(content as string) ?? []) {
					socket.topics.add(keyOf(topic));
				}
			} else if (kind === 'unsub') {
				for (const topic of content as Topic[]) socket.topics.delete(keyOf(topic));
			}
		});
		this.onOpen(socket);
	}
}

function part(value: unknown): string {
	return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** An Inngest client as inngest 3 makes them: plain fields. */
export function clientAt(url: string, fields: Record<string, unknown> = {}): InngestClient {
	return {
		id: 'test',
		inngestApi: { getTargetUrl: async (path: string) => new URL(path, url), ...fields }
	} as InngestClient;
}

export function sourceAt(url: string, options?: InngestSourceOptions): RealtimeSource {
	return inngestSource(clientAt(url), options);
}

/** A listener that writes down what it is told. */
export class Recorder implements SourceListener {
	readonly channel: string;
	readonly topics: readonly string[];
	readonly events: string[] = [];
	readonly errors: Error[] = [];
	readonly messages: SourceMessage[] = [];
	isLive = false;

	constructor(channel: string, topics: readonly string[] = ['t']) {
		this.channel = channel;
		this.topics = topics;
	}

	/** Data of the messages of one topic. */
	data(topic = 't'): unknown[] {
		return this.messages.filter((message) => message.topic === topic).map(({ data }) => data);
	}

	live(): void {
		this.isLive = true;
		this.events.push('live');
	}

	lost(error: Error): void {
		this.isLive = false;
		this.errors.push(error);
		this.events.push('lost');
	}

	failed(error: Error): void {
		this.errors.push(error);
		this.events.push('failed');
	}

	gap(): void {
		this.events.push('gap');
	}

	message(message: SourceMessage): void {
		this.messages.push(message);
	}

	/** Resolves when the listener is live. */
	async whenLive(): Promise<void> {
		await until(() => this.isLive, `channel ${this.channel} to be live: ${this.events.join(', ')}`);
	}
}

/** An endpoint over real HTTP whose Inngest is at `url`. */
export class Endpoint {
	readonly realtime: Realtime;
	readonly failures: RealtimeServerFailureContext[] = [];
	readonly #server: TestServer;
	readonly #readers: SseReader[] = [];

	static async start(
		inngest: InngestClient,
		options: Partial<RealtimeEndpointOptions> = {},
		serveOptions?: Parameters<typeof serve>[1]
	): Promise<Endpoint> {
		const failures: RealtimeServerFailureContext[] = [];
		const realtime = createRealtime({
			inngest,
			channels: {
				demo: { channel: demoChannel, authorize: () => true },
				user: {
					channel: userChannel,
					channelParams: (_event: unknown, id: string) =>
						id.startsWith('user:') ? id.slice('user:'.length) : '',
					authorize: () => true
				}
			},
			onFailure: (failure) => void failures.push(failure),
			...options
		} as RealtimeEndpointOptions);
		return new Endpoint(realtime, await serve(realtime, serveOptions), failures);
	}

	private constructor(
		realtime: Realtime,
		server: TestServer,
		failures: RealtimeServerFailureContext[]
	) {
		this.realtime = realtime;
		this.#server = server;
		this.failures = failures;
	}

	/** Messages of the errors that `onFailure` was told. */
	get causes(): string[] {
		return this.failures.map(({ error }) => (error instanceof Error ? error.message : ''));
	}

	async open(...subscriptions: SubscriptionRequest[]): Promise<SseReader> {
		const [first] = subscriptions;
		const body = subscriptions.length === 1 ? first : { subscriptions };
		const reader = await openStream(this.#server.url, body);
		this.#readers.push(reader);
		return reader;
	}

	async close(): Promise<void> {
		for (const reader of this.#readers) reader.close();
		this.realtime.close();
		await this.#server.close();
	}
}

/** Events of a stream in brief: statuses, reasons of resyncs, and texts of messages. */
export function story({ frames }: SseReader): string[] {
	return frames.map((frame) => {
		if (frame.event === 'health') return frame.data.status;
		if (frame.event === 'resync') return `resync ${frame.data.reason}`;
		return (frame.data.data as { message: string }).message;
	});
}
