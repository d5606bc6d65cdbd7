import { STATUS_CODES } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { failure, readBody, reply, replyText } from '../http.js';
import type { Exchange } from '../http.js';
import { encode } from '../gojson.js';
import { Broadcaster } from './broadcaster.js';
import type { Message } from './message.js';
import { MAX_MESSAGE_BYTES, publishBody, publishRequest, readTarget } from './publish.js';
import { RealtimeSocket } from './socket.js';
import { RealtimeStream } from './sse.js';
import { signToken, verifyToken } from './token.js';
import type { TokenClaims } from './token.js';
import { inDevEnv, readTopics } from './topics.js';

const MAX_TOKEN_REQUEST_BYTES = 4 * 1024 * 1024;
// The limit that applies is the socket's own, which reports it as the real server does.
const MAX_PAYLOAD_BYTES = 1024 * 1024;
const CLOSING_GRACE_MS = 5 * 60_000;

/**
 * The realtime API: tokens, subscriptions over WebSocket and server-sent events, publishing. Owned by
 * the engine, which calls `close()`.
 */
export class Realtime {
	readonly broadcaster: Broadcaster;
	readonly sockets = new Set<RealtimeSocket>();
	/** Status that token requests are answered with, or `null` to grant them. */
	tokenFailure: number | null = null;
	readonly #streams = new Set<Exchange['response']>();
	readonly #server = new WebSocketServer({
		noServer: true,
		autoPong: false,
		clientTracking: false,
		perMessageDeflate: false,
		skipUTF8Validation: true,
		maxPayload: MAX_PAYLOAD_BYTES
	});
	#graceTimer: NodeJS.Timeout | undefined;
	#held = false;

	/** @param onMessage Called before a message is delivered. */
	constructor(onMessage: (message: Message) => void) {
		this.broadcaster = new Broadcaster(onMessage);
	}

	/** `POST /v1/realtime/token` */
	async token({ request, response }: Exchange): Promise<void> {
		const body = await readBody(request, MAX_TOKEN_REQUEST_BYTES);
		if (this.tokenFailure !== null) {
			const text = STATUS_CODES[this.tokenFailure] ?? 'Something went wrong.  Please try again';
			return failure(response, this.tokenFailure, text);
		}
		const topics = readTopics(parse(body));
		if (topics === undefined) {
			return failure(response, 400, 'Invalid request: must provide a list of topics');
		}
		reply(response, 201, { jwt: signToken(topics && inDevEnv(topics)) });
	}

	/** `POST /v1/realtime/publish` */
	async publish({ request, response, url }: Exchange): Promise<void> {
		const claims = readClaims(request, url);
		if (claims && !claims.publish) {
			return failure(response, 401, 'Not authenticated for publishing');
		}
		const target = readTarget(url.searchParams);
		if (request.headers['content-type'] === 'text/stream') {
			await publishRequest(this.broadcaster, target, request);
		} else {
			const body = await readBody(request, MAX_MESSAGE_BYTES, { cut: true });
			publishBody(this.broadcaster, target, body);
		}
		replyText(response, 200, '');
	}

	/** `GET /v1/realtime/sse` */
	events({ request, response, url }: Exchange): void {
		const claims = readClaims(request, url);
		if (!claims) return failure(response, 401, 'Not authenticated');
		this.#streams.add(response);
		response.on('close', () => this.#streams.delete(response));
		new RealtimeStream(response, this.broadcaster, claims.topics);
	}

	/** `GET /v1/realtime/connect` without an upgrade. */
	connect({ request, response, url }: Exchange): void {
		if (!readClaims(request, url)) return failure(response, 401, 'Not authenticated');
		response.setHeader('connection', 'Upgrade');
		response.setHeader('upgrade', 'websocket');
		replyText(
			response,
			426,
			'WebSocket protocol violation: Connection header "" does not contain Upgrade\n'
		);
	}

	/** `GET /v1/realtime/connect` with an upgrade. */
	upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, url: URL): void {
		const claims = readClaims(request, url);
		if (!claims) {
			const body = encode({ error: 'Not authenticated', data: null, status: 401 }) + '\n';
			socket.end(
				`HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n` +
					`X-Inngest-Server-Kind: dev\r\nConnection: close\r\n` +
					`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
			);
			return;
		}
		this.#server.handleUpgrade(request, socket, head, (webSocket) => {
			const connection = new RealtimeSocket(webSocket, this.broadcaster, claims.topics);
			connection.hold(this.#held);
			this.sockets.add(connection);
			webSocket.on('close', () => this.sockets.delete(connection));
		});
	}

	/** With `true` stops reading the frames of all sockets, pings included; with `false` continues. */
	hold(held: boolean): void {
		this.#held = held;
		for (const socket of this.sockets) socket.hold(held);
	}

	/** Tells every open socket that the server shuts down, and cuts those that are left after `graceMs`. */
	announceClosing(graceMs: number = CLOSING_GRACE_MS): void {
		const told = [...this.sockets];
		for (const socket of told) socket.announceClosing();
		clearTimeout(this.#graceTimer);
		this.#graceTimer = setTimeout(() => told.forEach((socket) => socket.drop()), graceMs).unref();
	}

	/** Cuts every subscription without notice. */
	drop(): void {
		for (const socket of this.sockets) socket.drop();
		for (const stream of this.#streams) stream.destroy();
	}

	close(): void {
		clearTimeout(this.#graceTimer);
		this.drop();
		this.#server.close();
	}
}

function readClaims(request: IncomingMessage, url: URL): TokenClaims | null {
	const { authorization = '' } = request.headers;
	// The header takes precedence even if it is not a realtime token, as in the real server.
	const token = authorization.length > 8 ? authorization.slice(7) : url.searchParams.get('token');
	return token ? verifyToken(token) : null;
}

/** The value of a JSON text, or `undefined` if it is not JSON. */
function parse(body: Buffer): unknown {
	try {
		return JSON.parse(body.toString('utf8'));
	} catch {
		return undefined;
	}
}
