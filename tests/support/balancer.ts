import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A proxy that gives each new connection to the next of its targets that takes it. */
export class Balancer {
	readonly #server: Server;
	readonly #sockets = new Set<Socket>();
	#targets: number[] = [];
	#turn = 0;

	private constructor() {
		this.#server = createServer((near) => {
			this.#sockets.add(near);
			near.on('error', () => {}).on('close', () => this.#sockets.delete(near));
			this.#connect(near, this.#targets.length);
		});
	}

	static async start(): Promise<Balancer> {
		const balancer = new Balancer();
		await new Promise<void>((resolve) => balancer.#server.listen(0, '127.0.0.1', resolve));
		return balancer;
	}

	get url(): string {
		return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
	}

	add(port: number): void {
		this.#targets.push(port);
	}

	remove(port: number): void {
		this.#targets = this.#targets.filter((target) => target !== port);
	}

	/** Cuts the open connections that `isChosen` takes. */
	cut(isChosen: () => boolean): void {
		for (const socket of this.#sockets) if (isChosen()) socket.destroy();
	}

	async close(): Promise<void> {
		const closed = new Promise((resolve) => this.#server.close(resolve));
		this.cut(() => true);
		await closed;
	}

	#connect(near: Socket, attempts: number): void {
		const port = this.#targets[this.#turn++ % this.#targets.length];
		if (port === undefined || attempts === 0) return void near.destroy();
		const far = connect(port, '127.0.0.1');
		let isOpen = false;
		far.on('connect', () => {
			isOpen = true;
			near.pipe(far).pipe(near);
		});
		far.on('error', () => {});
		far.on('close', () => (isOpen ? near.destroy() : this.#connect(near, attempts - 1)));
		near.on('close', () => far.destroy());
	}
}
