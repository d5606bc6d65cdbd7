// The processes of a measurement: an engine, a server and its readers, and what they are built from.
import { execFileSync, fork } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

process.setMaxListeners(0);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** A file beside this one. */
export const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** A script in a process of its own, which answers each message with one. */
export class Process {
	constructor(script, env = {}, execArgv = []) {
		this.child = fork(resolve(here('.'), script), [], {
			env: { ...process.env, ...env },
			execArgv,
			stdio: ['ignore', 'inherit', 'inherit', 'ipc']
		});
		this.exited = new Promise((ended) => this.child.on('exit', ended));
		process.on('exit', () => this.child.kill('SIGKILL'));
	}
	hear() {
		return new Promise((heard, reject) => {
			this.child.once('message', heard);
			void this.exited.then((code) => reject(new Error(`A process ended with ${code}`)));
		});
	}
	ask(message) {
		const heard = this.hear();
		this.child.send(message);
		return heard;
	}
	/** CPU µs so far, asked of the system: a server that is overrun does not answer. */
	get cpuUs() {
		const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8');
		const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
		return (Number(fields[11]) + Number(fields[12])) * 10_000;
	}
	/** Sockets that it holds open. */
	get sockets() {
		const folder = `/proc/${this.child.pid}/fd`;
		return readdirSync(folder).filter((fd) => {
			try {
				return readlinkSync(`${folder}/${fd}`).startsWith('socket:');
			} catch {
				// Closed since.
				return false;
			}
		}).length;
	}
	async end(signal = 'SIGKILL') {
		this.child.kill(signal);
		await this.exited;
	}
}

/** Resolves when a server answers. */
export async function listening(port) {
	for (let attempt = 0; attempt < 200; attempt++) {
		try {
			await fetch(`http://127.0.0.1:${port}/floor`, { signal: AbortSignal.timeout(500) });
			return;
		} catch (error) {
			if (error.name === 'TimeoutError') return;
			await wait(50);
		}
	}
	throw new Error('The server did not start');
}

/** The servers of the tests' backends. Vite runs TypeScript in every version of Node. */
export async function loadBackends() {
	const loaded = await Promise.all(
		['redis', 'postgres'].map((name) =>
			runnerImport(here(`../support/${name}.ts`), { configFile: false })
		)
	);
	return Object.assign({}, ...loaded.map(({ module }) => module));
}

/** Packages the library and builds the app on it. */
export function buildApp() {
	execFileSync('npx', ['svelte-package'], { cwd: here('../..'), stdio: 'pipe' });
	if (existsSync(here('app/build'))) rmSync(here('app/build'), { recursive: true });
	execFileSync('npx', ['vite', 'build'], { cwd: here('app'), stdio: 'pipe' });
}
