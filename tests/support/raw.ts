import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/**
 * A client at the level of bytes: one that stalls, sends half a request, or leaves without a word.
 * Reads only as long as it is told to.
 */
export class RawClient {
	readonly socket: Socket;
	text = '';
	closed = false;

	private constructor(socket: Socket) {
		this.socket = socket;
		socket.setEncoding('utf8');
		socket.on('data', (chunk) => (this.text += String(chunk)));
		socket.on('close', () => (this.closed = true));
		// How a connection ends is what tests ask; an error is one way.
		socket.on('error', () => {});
	}

	static async open(url: string): Promise<RawClient> {
		const { hostname, port } = new URL(url);
		const socket = connect(Number(port), hostname);
		await once(socket, 'connect');
		return new RawClient(socket);
	}

	/** Sends a POST, or its first bytes only. */
	post(body: unknown, options: { bytes?: number } = {}): void {
		const json = JSON.stringify(body);
		this.socket.write(
			'POST / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n' +
				`Content-Length: ${json.length}\r\n\r\n${json.slice(0, options.bytes)}`
		);
	}

	/** Takes nothing from the socket until `resume`. */
	stall(): void {
		this.socket.pause();
	}

	resume(): void {
		this.socket.resume();
	}

	/** Leaves without a word. */
	leave(): void {
		this.socket.resetAndDestroy();
	}
}
