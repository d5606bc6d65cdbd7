import { WebSocket } from 'ws';
import type { RawData } from 'ws';
import type { Broadcaster, Subscriber } from './broadcaster.js';
import { encodeClosing } from './message.js';
import type { Topic } from './message.js';
import { verifyToken } from './token.js';
import { readTopics } from './topics.js';

/** Most bytes of a message from a client. */
export const MAX_FRAME_BYTES = 32_768;

const PING_INTERVAL_MS = 15_000;

type Frame = { ping: Buffer } | { text: Buffer };

/**
 * One realtime WebSocket. Frames, pings among them, are handled one at a time in the order in which they
 * arrive: a pong means that every `sub` before its ping is in effect. Ends when either side closes.
 */
export class RealtimeSocket implements Subscriber {
	readonly #socket: WebSocket;
	readonly #broadcaster: Broadcaster;
	readonly #waiting: Frame[] = [];
	#held = false;
	#closing = false;
	#pingTimer: NodeJS.Timeout | undefined;

	constructor(socket: WebSocket, broadcaster: Broadcaster, topics: readonly Topic[]) {
		this.#socket = socket;
		this.#broadcaster = broadcaster;
		socket.on('message', (data, isBinary) => this.#message(data, isBinary));
		socket.on('ping', (data: Buffer) => this.#receive({ ping: data }));
		// As in the real server, a ping is due 15 s after the last pong, not after the last ping.
		socket.on('pong', () => {
			clearTimeout(this.#pingTimer);
			this.#pingTimer = setTimeout(() => this.#ping(), PING_INTERVAL_MS).unref();
		});
		socket.on('close', () => this.#ended());
		socket.on('error', () => this.drop());
		this.#subscribe(topics);
	}

	write(message: Buffer): void {
		if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message, { binary: false });
	}

	/** Announces that the server shuts down. It still delivers, but ignores `sub` and `unsub`. */
	announceClosing(): void {
		if (this.#closing) return;
		this.#closing = true;
		this.write(encodeClosing());
	}

	/** With `true` stops reading frames; with `false` continues. */
	hold(held: boolean): void {
		this.#held = held;
		if (held) return;
		for (const frame of this.#waiting.splice(0)) this.#handle(frame);
	}

	/** Cuts the connection without notice. */
	drop(): void {
		this.#socket.terminate();
	}

	#message(data: RawData, isBinary: boolean): void {
		const text = data as Buffer;
		if (text.length > MAX_FRAME_BYTES) {
			this.#socket.close(1009, `read limited at ${MAX_FRAME_BYTES + 1} bytes`);
			this.#ended();
		} else if (!isBinary) this.#receive({ text });
	}

	#receive(frame: Frame): void {
		if (this.#held) this.#waiting.push(frame);
		else this.#handle(frame);
	}

	#handle(frame: Frame): void {
		if (this.#socket.readyState !== WebSocket.OPEN) return;
		if ('ping' in frame) {
			this.#socket.pong(frame.ping);
			return;
		}
		const { kind, data } = parse(frame.text);
		if (this.#closing) return;
		// Frames that cannot be read are ignored silently, as in the real server.
		if (kind === 'sub' && typeof data === 'string') {
			this.#subscribe(verifyToken(data)?.topics ?? []);
		} else if (kind === 'unsub') {
			this.#broadcaster.unsubscribe(this, readTopics(data) ?? []);
		}
	}

	#subscribe(topics: readonly Topic[]): void {
		if (this.#broadcaster.subscribe(this, topics)) this.#ping();
	}

	#ping(): void {
		if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
	}

	#ended(): void {
		clearTimeout(this.#pingTimer);
		this.#waiting.length = 0;
		this.#broadcaster.remove(this);
	}
}

function parse(text: Buffer): { kind?: unknown; data?: unknown } {
	try {
		const frame: unknown = JSON.parse(text.toString('utf8'));
		return typeof frame === 'object' && frame !== null ? frame : {};
	} catch {
		return {};
	}
}
