// Child processes that all end with this one.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) {
	process.on(signal, () => {
		console.error(`Ended by ${signal}.`);
		process.exit(1);
	});
}

function start(command, args, options) {
	const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
	running.add(child);
	const handle = { child, output: '', exited: once(child, 'exit').then(([code]) => code) };
	void handle.exited.then(() => running.delete(child));
	for (const stream of [child.stdout, child.stderr]) {
		stream.setEncoding('utf8').on('data', (text) => (handle.output += text));
	}
	return handle;
}

/** Runs a command to its end. @throws with its output when it fails. */
export async function run(command, args, options) {
	const handle = start(command, args, options);
	const code = await handle.exited;
	if (code !== 0) {
		throw new Error(`${args[0]} ended with ${code}:\n${handle.output.slice(-4_000)}`);
	}
	return handle.output;
}

/** Starts a process that stays; resolves with the match of `ready` in what it prints. */
export async function serve(command, args, { ready, ...options }) {
	const handle = start(command, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
	const match = await new Promise((resolve, reject) => {
		const look = () => {
			const found = handle.output.match(ready);
			if (found) resolve(found);
		};
		for (const stream of [handle.child.stdout, handle.child.stderr]) stream.on('data', look);
		void handle.exited.then((code) =>
			reject(new Error(`${args[0]} ended with ${code}:\n${handle.output.slice(-4_000)}`))
		);
	});
	return {
		...handle,
		match,
		get output() {
			return handle.output;
		},
		/** Asks it to end. @returns milliseconds that it took. */
		async stop(signal = 'SIGTERM') {
			const asked = Date.now();
			handle.child.kill(signal);
			const timeout = setTimeout(() => handle.child.kill('SIGKILL'), 10_000);
			await handle.exited;
			clearTimeout(timeout);
			return Date.now() - asked;
		}
	};
}
