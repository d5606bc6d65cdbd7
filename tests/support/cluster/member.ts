import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Balancer } from '../balancer.js';
import { freePort } from '../ports.js';
import { eventually } from '../wait.js';
import type { EmitAnswer, EmitRequest } from './src/hooks.server.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Builds the app with SvelteKit's Node adapter. */
export async function buildCluster(): Promise<void> {
	const vite = here('../../../node_modules/vite/bin/vite.js');
	// Vitest's own settings make SvelteKit build for tests.
	const env = { ...process.env };
	delete env.VITEST;
	delete env.NODE_ENV;
	const child = spawn(process.execPath, [vite, 'build'], {
		cwd: here('.'),
		env,
		stdio: ['ignore', 'ignore', 'pipe']
	});
	let errors = '';
	child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
	const code = await new Promise((resolve) => child.once('close', resolve));
	if (code !== 0) throw new Error(`The app could not be built:\n${errors}`);
}

/** A process of the built app that nobody but its signals ends. */
export class Standalone {
	readonly port: number;
	readonly url: string;
	readonly #process: ChildProcess;
	#output = '';

	private constructor(port: number, child: ChildProcess) {
		this.port = port;
		this.url = `http://127.0.0.1:${port}/`;
		this.#process = child;
		child.stdout!.on('data', (data: Buffer) => (this.#output += data.toString()));
	}

	/** @param env Where the engine and the shared server are, as the app reads it. */
	static async start(env: Record<string, string>): Promise<Standalone> {
		const port = await freePort();
		const child = spawn(process.execPath, [here('build/index.js')], {
			env: { ...process.env, NODE_ENV: 'production', HOST: '127.0.0.1', PORT: `${port}`, ...env },
			stdio: ['ignore', 'pipe', 'inherit']
		});
		const started = new Standalone(port, child);
		await started.says('Listening on');
		return started;
	}

	/** Resolves when it has written a text. */
	async says(text: string): Promise<void> {
		await eventually(() => this.#output.includes(text), `"${text}" of a process`);
	}

	/** @returns its exit code, or the signal that it died of. */
	async stop(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
		const { exitCode, signalCode } = this.#process;
		if (exitCode !== null || signalCode !== null) return exitCode ?? signalCode;
		const ended = once(this.#process, 'exit');
		this.#process.kill(signal);
		const [code, by] = (await ended) as [number | null, NodeJS.Signals | null];
		return code ?? by;
	}
}

/** A process of the built app behind a balancer. It may be killed and started again. */
export class Member {
	readonly #env: NodeJS.ProcessEnv;
	readonly #balancer: Balancer;
	readonly #asked = new Map<number, (answer: EmitAnswer) => void>();
	#process: ChildProcess | undefined;
	#port = 0;
	#questions = 0;

	/** @param env Where the engine and the shared server are, as the app reads it. */
	constructor(env: Record<string, string>, balancer: Balancer) {
		this.#env = { ...process.env, NODE_ENV: 'production', HOST: '127.0.0.1', ...env };
		this.#balancer = balancer;
	}

	async start(): Promise<void> {
		this.#port ||= await freePort();
		const child = fork(here('build/index.js'), {
			env: { ...this.#env, PORT: String(this.#port) },
			stdio: ['ignore', 'pipe', 'inherit', 'ipc']
		});
		await new Promise<void>((resolve, reject) => {
			child.stdout!.on('data', (data: Buffer) => {
				if (data.toString().includes('Listening on')) resolve();
			});
			child.once('exit', (code) => reject(new Error(`A process ended with ${code} at its start.`)));
		});
		child.on('message', (answer: EmitAnswer) => this.#asked.get(answer.id)?.(answer));
		this.#process = child;
		this.#balancer.add(this.#port);
	}

	/** Ends it as a crash does. */
	async kill(): Promise<void> {
		const child = this.#process;
		if (!child) return;
		this.#process = undefined;
		this.#balancer.remove(this.#port);
		const gone = new Promise((resolve) => child.once('exit', resolve));
		child.kill('SIGKILL');
		await gone;
		for (const [id, answer] of this.#asked) answer({ id, error: 'The process was killed.' });
	}

	/** @throws when it fails, and when the process is killed meanwhile. */
	async emit(channel: string, n: number): Promise<void> {
		const child = this.#process;
		if (!child) throw new Error('The process is not running.');
		const id = ++this.#questions;
		const { error } = await new Promise<EmitAnswer>((resolve) => {
			this.#asked.set(id, resolve);
			child.send({ id, channel, n } satisfies EmitRequest, () => {});
		});
		this.#asked.delete(id);
		if (error) throw new Error(error);
	}
}
