import { RealtimeError } from '../../protocol/errors.js';
import { isWorkerd } from '../runtime/runtime.js';
import type { RealtimeUpstreamOptions, WebSocketLike } from './options.js';
import { environmentProxy, tunnel } from './proxy.js';

/** What a socket tells its owner. Nothing is called after `close`. */
export interface SocketEvents {
	message(text: string): void;
	/** A sign of life that is not a message. */
	ping(): void;
	/** A frame that is not text. */
	binary(): void;
	close(reason: string): void;
}

/** One open WebSocket, of `ws` or of the platform. Owned by whoever opened it, ended by `terminate`. */
export interface Socket {
	/** Whether the server's pings are seen, so that silence means something. */
	readonly seesPings: boolean;
	send(text: string): void;
	/**
	 * Resolves when the server has handled everything sent before: it reads frames in order, so a pong means
	 * that all earlier ones were read. Without pings it resolves after `SETTLE_MS`. It never rejects; if the
	 * socket closes, it stays pending.
	 */
	barrier(): Promise<void>;
	terminate(): void;
}

/** How long, in milliseconds, a subscription has to take effect if no ping can confirm it. */
export const SETTLE_MS = 500;

const CONNECT_TIMEOUT_MS = 10_000;

/** Largest frame that is read; Inngest publishes at most 512 KiB. */
const MAX_RECEIVED_BYTES = 4 * 1024 * 1024;

type NodeWebSocket = typeof import('ws').WebSocket;

/** How a socket is opened. */
interface OpenOptions extends RealtimeUpstreamOptions {
	signal: AbortSignal;
}

/**
 * Opens a socket.
 *
 * @throws {RealtimeError} `UPSTREAM` when it does not open.
 */
export async function openSocket(
	url: string,
	events: SocketEvents,
	options: OpenOptions
): Promise<Socket> {
	const Class = options.WebSocket ?? (await nodeWebSocket());
	if (options.signal.aborted) throw options.signal.reason;
	// In a bundle for browsers `ws` is a stub without a useful prototype.
	if (Class?.prototype && 'ping' in Class.prototype) {
		return openNodeSocket(Class as NodeWebSocket, url, events, options);
	}
	return openPlatformSocket(options.WebSocket ?? globalThis.WebSocket, url, events, options.signal);
}

async function nodeWebSocket(): Promise<NodeWebSocket | undefined> {
	if (isWorkerd || typeof process !== 'object') return undefined;
	const ws = await import('ws').catch(() => undefined);
	return ws?.WebSocket;
}

function openNodeSocket(
	Class: NodeWebSocket,
	url: string,
	events: SocketEvents,
	{ agent, signal }: OpenOptions
): Promise<Socket> {
	return new Promise((resolve, reject) => {
		const target = new URL(url);
		const proxy = agent ? undefined : environmentProxy(target);
		const socket = new Class(url, {
			maxPayload: MAX_RECEIVED_BYTES,
			handshakeTimeout: CONNECT_TIMEOUT_MS,
			perMessageDeflate: false,
			...(agent && { agent }),
			...(proxy && {
				createConnection: tunnel(proxy, target, { signal, timeoutMs: CONNECT_TIMEOUT_MS })
			})
		});
		const barriers = new Map<string, () => void>();
		let barrierCount = 0;
		let open = false;
		let failure: Error | undefined;
		const abort = (): void => socket.terminate();
		signal.addEventListener('abort', abort, { once: true });
		socket.on('open', () => {
			open = true;
			resolve({
				seesPings: true,
				send: (text) => socket.send(text),
				barrier: () =>
					new Promise((passed) => {
						const id = String(++barrierCount);
						barriers.set(id, passed);
						socket.ping(id);
					}),
				terminate: () => socket.terminate()
			});
		});
		socket.on('message', (data, isBinary) =>
			isBinary ? events.binary() : events.message(String(data))
		);
		socket.on('ping', () => events.ping());
		socket.on('pong', (payload) => {
			const id = String(payload);
			barriers.get(id)?.();
			barriers.delete(id);
		});
		socket.on('error', (error) => (failure = error));
		socket.on('close', (code, reason) => {
			signal.removeEventListener('abort', abort);
			const why = failure?.message || String(reason) || `code ${code}`;
			if (open) events.close(why);
			else reject(cannotConnect(url, why, failure));
		});
	});
}

function openPlatformSocket(
	Class: (new (url: string) => WebSocketLike) | undefined,
	url: string,
	events: SocketEvents,
	signal: AbortSignal
): Promise<Socket> {
	return new Promise((resolve, reject) => {
		if (!Class) {
			reject(cannotConnect(url, 'this runtime has no WebSocket and the package `ws` is missing'));
			return;
		}
		const socket = new Class(url);
		let open = false;
		let ended = false;
		const end = (why: string): void => {
			if (ended) return;
			ended = true;
			clearTimeout(timer);
			signal.removeEventListener('abort', abort);
			if (open) events.close(why);
			else reject(cannotConnect(url, why));
		};
		const terminate = (why: string): void => {
			// A platform socket cannot be terminated, only closed. Its owner need not wait for the answer.
			socket.close();
			end(why);
		};
		const abort = (): void => terminate('aborted');
		const timer = setTimeout(() => terminate('no answer'), CONNECT_TIMEOUT_MS);
		signal.addEventListener('abort', abort, { once: true });
		socket.addEventListener('open', () => {
			open = true;
			clearTimeout(timer);
			resolve({
				seesPings: false,
				send: (text) => socket.send(text),
				barrier: () => new Promise((passed) => setTimeout(passed, SETTLE_MS)),
				terminate: () => terminate('closed')
			});
		});
		socket.addEventListener('message', ({ data }) => {
			if (ended) return;
			if (typeof data === 'string' && data.length <= MAX_RECEIVED_BYTES) events.message(data);
			else events.binary();
		});
		socket.addEventListener('error', () => end('error'));
		socket.addEventListener('close', ({ reason, code }) => end(reason || `code ${code}`));
	});
}

function cannotConnect(url: string, why: string, cause?: unknown): RealtimeError {
	return new RealtimeError(
		'UPSTREAM',
		`Cannot connect to Inngest realtime at ${new URL(url).origin}: ${why}.`,
		{ cause }
	);
}
