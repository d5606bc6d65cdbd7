import { once } from 'node:events';
import WebSocket from 'ws';
import { fetchToken, topicOf } from './engine.js';
import type { TestEngine } from './engine.js';

/** One realtime socket, and all that arrived on it. */
export class TestSocket {
	readonly frames: string[] = [];
	readonly #pinged: Promise<unknown>;
	readonly socket: WebSocket;
	/** Code and reason, once closed. */
	readonly closed: Promise<{ code: number; reason: string }>;

	private constructor(socket: WebSocket) {
		this.socket = socket;
		socket.on('message', (data: Buffer) => this.frames.push(data.toString()));
		this.#pinged = once(socket, 'ping');
		this.#pinged.catch(() => {});
		socket.on('error', () => {});
		this.closed = once(socket, 'close').then(([code, reason]) => ({
			code: code as number,
			reason: String(reason)
		}));
	}

	/** Connects with a token for `topics` of a channel, and waits until it is live. */
	static async open(engine: TestEngine, channel: string, topics: string[]): Promise<TestSocket> {
		const jwt = await fetchToken(
			engine,
			topics.map((name) => topicOf(channel, name))
		);
		return TestSocket.connect(engine, jwt);
	}

	static async connect(engine: TestEngine, jwt: string): Promise<TestSocket> {
		const base = engine.url.replace('http', 'ws');
		const socket = new WebSocket(`${base}/v1/realtime/connect?token=${jwt}`);
		const test = new TestSocket(socket);
		await once(socket, 'open');
		await test.barrier();
		return test;
	}

	get messages(): Record<string, unknown>[] {
		return this.frames.map((frame) => JSON.parse(frame) as Record<string, unknown>);
	}

	/** Resolves when the server has handled all frames sent so far. */
	async barrier(): Promise<void> {
		const payload = Math.random().toString(36);
		const answered = new Promise<void>((resolve) => {
			const listener = (data: Buffer): void => {
				if (data.toString() !== payload) return;
				this.socket.off('pong', listener);
				resolve();
			};
			this.socket.on('pong', listener);
		});
		this.socket.ping(payload);
		await answered;
	}

	/** Resolves when `count` messages have arrived. */
	async received(count: number): Promise<Record<string, unknown>[]> {
		while (this.frames.length < count) await once(this.socket, 'message');
		return this.messages;
	}

	/** Resolves when the server has sent its first ping. */
	async pinged(): Promise<void> {
		await this.#pinged;
	}

	send(frame: unknown): void {
		this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
	}

	async close(): Promise<void> {
		this.socket.close();
		await this.closed;
	}
}
