import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './ports.js';

const BINARY = process.env.REDIS_SERVER ?? 'redis-server';

/** Whether a suite that needs Redis can run. Where it cannot, it says so once and skips. */
export const hasRedis = spawnSync(BINARY, ['--version']).status === 0;
if (!hasRedis) console.warn(`Tests of Redis are skipped: there is no "${BINARY}" on this machine.`);

export interface RedisServerOptions {
	/** One node that has all slots. */
	cluster?: boolean;
	/** It is a Sentinel that watches the server on this port, under the name `main`. */
	watches?: number;
	/** More of its command line. */
	args?: readonly string[];
}

/** A Redis of its own, on a free port and in a temporary folder. */
export class RedisServer {
	readonly port: number;
	readonly url: string;
	readonly #options: RedisServerOptions;
	readonly #folder = mkdtempSync(join(tmpdir(), 'redis-'));
	#process: ChildProcess | undefined;

	private constructor(port: number, options: RedisServerOptions) {
		this.port = port;
		this.url = `redis://127.0.0.1:${port}`;
		this.#options = options;
	}

	static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
		const server = new RedisServer(await freePort(), options);
		await server.start();
		return server;
	}

	async start(): Promise<void> {
		if (this.#process) return;
		const { cluster } = this.#options;
		this.#process = spawn(BINARY, await this.#commandLine(), { stdio: 'ignore' });
		await this.#answering('PING', (reply) => reply.startsWith('+PONG'));
		if (!cluster) return;
		await this.command('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
		await this.#answering('CLUSTER INFO', (reply) => reply.includes('cluster_state:ok'));
	}

	async #commandLine(): Promise<string[]> {
		const { cluster, watches, args = [] } = this.#options;
		const where = ['--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.#folder];
		if (watches) {
			const file = join(this.#folder, 'sentinel.conf');
			writeFileSync(
				file,
				[
					`sentinel monitor main 127.0.0.1 ${watches} 1`,
					'sentinel down-after-milliseconds main 500',
					'sentinel failover-timeout main 3000',
					''
				].join('\n')
			);
			return [file, ...where, '--sentinel', ...args];
		}
		const own = cluster
			? ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-port']
			: [];
		if (cluster) own.push(`${await freePort()}`);
		return [...where, '--save', '', ...own, ...args];
	}

	/** Ends it at once, as a crash does. */
	async stop(): Promise<void> {
		const running = this.#process;
		if (!running) return;
		this.#process = undefined;
		const gone = new Promise((resolve) => running.once('exit', resolve));
		running.kill('SIGKILL');
		await gone;
	}

	/** From now on it accepts and never answers. */
	freeze(): void {
		this.#process?.kill('SIGSTOP');
	}

	thaw(): void {
		this.#process?.kill('SIGCONT');
	}

	async flush(): Promise<void> {
		await this.command('FLUSHALL');
	}

	/** Ends it for good. */
	async close(): Promise<void> {
		await this.stop();
		rmSync(this.#folder, { recursive: true, force: true });
	}

	/** Sends a command on a connection of its own. @returns the reply as it came. */
	command(...args: string[]): Promise<string> {
		const words = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`);
		return this.#ask(`*${args.length}\r\n${words.join('')}`);
	}

	/** Lines of a reply that is a list of texts. */
	async list(...args: string[]): Promise<string[]> {
		return (await this.command(...args)).split('\r\n').filter((line) => !/^([*$]|$)/.test(line));
	}

	async #answering(command: string, isGood: (reply: string) => boolean): Promise<void> {
		for (const deadline = Date.now() + 10_000; ; await delay(10)) {
			const reply = await this.#ask(`${command}\r\n`).catch(() => '');
			if (isGood(reply)) return;
			if (Date.now() > deadline) throw new Error(`${BINARY} on port ${this.port} does not start.`);
		}
	}

	#ask(request: string): Promise<string> {
		return new Promise((resolve, reject) => {
			let reply = '';
			const socket = connect(this.port, '127.0.0.1').setEncoding('utf8');
			socket.on('data', (text: string) => (reply += text));
			socket.on('error', reject);
			socket.on('close', () => resolve(reply));
			// The server answers, and then sees that nothing more comes.
			socket.end(request);
		});
	}
}
