import { RealtimeError } from '../../protocol/errors.js';
import { isWorkerd } from '../runtime/runtime.js';

/** What a socket tells its owner; nothing is called after `close`. */
export interface SocketEvents {
	message(text: string): void;
	/** A sign of life that is no message. */
	ping(): void;
	/** A frame that is not text. */
	binary(): void;
	close(reason: string): void;
}

/** One open WebSocket, of `ws` or of the platform. Owned by who opened it, ended by `terminate`. */
export interface Socket {
	/** Whether the server's pings are seen, so that silence means something. */
	readonly seesPings: boolean;
	send(text: string): void;
	/**
	 * Resolves when the server has handled everything sent before: it reads a ping only after what
	 * came first. Where pings do not exist, after `SETTLE_MS`. Never rejects; a socket that closes
	 * leaves it pending.
	 */
	barrier(): Promise<void>;
	terminate(): void;
}

/** How long, in milliseconds, a subscription is given to take effect where no ping can confirm it. */
export const SETTLE_MS = 500;

const CONNECT_TIMEOUT_MS = 10_000;

/** Largest frame that is read; Inngest publishes at most 512 KiB. */
const MAX_RECEIVED_BYTES = 4 * 1024 * 1024;

/**
 * Opens a socket.
 *
 * @throws {RealtimeError} `UPSTREAM` when it does not open.
 */
export async function openSocket(
	url: string,
	events: SocketEvents,
	signal: AbortSignal
): Promise<Socket> {
	const ws = isWorkerd || typeof process !== 'object' ? null : await import('ws').catch(() => null);
	if (signal.aborted) throw signal.reason;
	// In a bundle made for browsers `ws` is a stub without a prototype to speak of.
	const Ws = ws?.WebSocket;
	return Ws?.prototype && 'ping' in Ws.prototype
		? openNodeSocket(Ws, url, events, signal)
		: openPlatformSocket(url, events, signal);
}

function openNodeSocket(
	Ws: typeof import('ws').WebSocket,
	url: string,
	events: SocketEvents,
	signal: AbortSignal
): Promise<Socket> {
	return new Promise((resolve, reject) => {
		const socket = new Ws(url, {
			maxPayload: MAX_RECEIVED_BYTES,
			handshakeTimeout: CONNECT_TIMEOUT_MS,
			perMessageDeflate: false
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
	url: string,
	events: SocketEvents,
	signal: AbortSignal
): Promise<Socket> {
	return new Promise((resolve, reject) => {
		if (typeof WebSocket === 'undefined') {
			reject(cannotConnect(url, 'this runtime has no WebSocket and the package `ws` is missing'));
			return;
		}
		const socket = new WebSocket(url);
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
			// A platform socket cannot be cut, only closed; its owner need not wait for the answer.
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
		socket.addEventListener('close', (event) => end(event.reason || `code ${event.code}`));
	});
}

function cannotConnect(url: string, why: string, cause?: unknown): RealtimeError {
	return new RealtimeError(
		'UPSTREAM',
		`Cannot connect to Inngest realtime at ${new URL(url).origin}: ${why}.`,
		{ cause }
	);
}
