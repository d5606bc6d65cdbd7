import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Ports below those that systems give to connections and to servers that ask for any. */
const FIRST = 20_000;
const LAST = 32_000;

/**
 * A port on which nobody listens now, and which no one else is given while its server is away: a test that
 * restarts a server needs the same port again. Not from `Math.random()`, which some tests replace by a constant.
 */
export async function freePort(): Promise<number> {
	for (let tries = 0; tries < 100; tries++) {
		const port = randomInt(FIRST, LAST);
		if (await isFree(port)) return port;
	}
	throw new Error(`There is no free port from ${FIRST} to ${LAST}.`);
}

function isFree(port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const server = createServer();
		server.once('error', () => resolve(false));
		server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
	});
}
