import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

interface Pair {
	near: Socket;
	far: Socket;
	/** What the client sent. */
	sent: string;
}

/** A proxy whose connections can fall silent without being closed, as behind a firewall that forgets. */
export class SilentProxy {
	readonly port: number;
	readonly #pairs: Pair[];
	readonly #close: () => void;

	private constructor(port: number, pairs: Pair[], close: () => void) {
		this.port = port;
		this.#pairs = pairs;
		this.#close = close;
	}

	static async start(target: number): Promise<SilentProxy> {
		const pairs: Pair[] = [];
		const server = createServer((near) => {
			const far = connect(target, '127.0.0.1');
			const pair = { near, far, sent: '' };
			pairs.push(pair);
			near.on('data', (chunk) => {
				pair.sent += chunk.toString('latin1');
				far.write(chunk);
			});
			far.on('data', (chunk) => near.write(chunk));
			for (const [one, other] of [
				[near, far],
				[far, near]
			] as const) {
				one.on('error', () => {}).on('close', () => other.destroy());
			}
		});
		await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
		return new SilentProxy((server.address() as AddressInfo).port, pairs, () => server.close());
	}

	/** From now on nothing arrives on the open connections on which `command` was sent. */
	silence(command: string): number {
		const pairs = this.#pairs.filter(({ sent }) => sent.toUpperCase().includes(command));
		for (const { far } of pairs) far.removeAllListeners('data').resume();
		return pairs.length;
	}

	close(): void {
		this.#close();
		for (const { near } of this.#pairs) near.destroy();
	}
}
