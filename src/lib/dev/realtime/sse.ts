import type { ServerResponse } from 'node:http';
import type { Broadcaster, Subscriber } from './broadcaster.js';
import type { Topic } from './message.js';

const KEEPALIVE_MS = 15_000;
const LIFE_MS = 15 * 60_000;

/** One subscription over server-sent events; ends with its response, at the latest after 15 minutes. */
export class RealtimeStream implements Subscriber {
	readonly #response: ServerResponse;

	constructor(response: ServerResponse, broadcaster: Broadcaster, topics: readonly Topic[]) {
		this.#response = response;
		response.writeHead(200, {
			'content-type': 'text/event-stream',
			'cache-control': 'no-cache',
			connection: 'keep-alive'
		});
		response.flushHeaders();
		const keepalive = setInterval(() => response.write(':\n\n'), KEEPALIVE_MS).unref();
		const life = setTimeout(() => response.end(), LIFE_MS).unref();
		response.on('close', () => {
			clearInterval(keepalive);
			clearTimeout(life);
			broadcaster.remove(this);
		});
		if (broadcaster.subscribe(this, topics)) response.write(':\n\n');
	}

	write(message: Buffer): void {
		this.#response.write(Buffer.concat([Buffer.from('data: '), message, Buffer.from('\n\n')]));
	}
}
