import { fork, spawn, type ChildProcess } from 'node:child_process';
import { on, once } from 'node:events';
import { rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import type { AppOptions, Question } from './app.js';
import type { RealtimeStats } from '../../../src/lib/server/index.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Bundles an app for Node. @returns its file, and what deletes it. */
export async function buildApp(
	name: 'app' | 'people' | 'ledger' = 'app'
): Promise<{ file: string; remove(): Promise<void> }> {
	// Inside of the project, where packages are found.
	const outDir = `${root}node_modules/.cache/test-app-${process.pid}-${Date.now()}`;
	await build({
		root,
		configFile: false,
		logLevel: 'error',
		build: {
			ssr: fileURLToPath(new URL(`${name}.ts`, import.meta.url)),
			outDir,
			emptyOutDir: false,
			target: 'node20',
			rolldownOptions: { output: { entryFileNames: 'app.mjs' } }
		}
	});
	return {
		file: `${outDir}/app.mjs`,
		remove: () => rm(outDir, { recursive: true, force: true })
	};
}

/** A running app. */
export interface App {
	url: string;
	process: ChildProcess;
	ask(question: 'stats'): Promise<RealtimeStats>;
	ask(question: 'memory'): Promise<{ heap: number; rss: number }>;
	/** Resolves when a request has reached an `authorize` that takes its time. */
	authorizing(): Promise<void>;
	/** Sends a signal. @returns how the process ended, and after how many milliseconds. */
	stop(
		signal: NodeJS.Signals
	): Promise<{ code: number | null; signal: string | null; afterMs: number }>;
}

/**
 * Starts a bundled app in a process that loads it, and the package with it, several times. It handles no
 * signal itself. @returns the process, and the address of each copy's server.
 */
export async function startCopies(
	file: string,
	options: AppOptions & { copies: number }
): Promise<{ process: ChildProcess; urls: string[] }> {
	const { copies, ...appOptions } = options;
	const imports = Array.from(
		{ length: copies },
		(_, n) => `await import(${JSON.stringify(`${file}?${n}`)});`
	);
	const child = spawn(process.execPath, ['--input-type=module', '-e', imports.join('')], {
		stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
		env: {
			...process.env,
			NODE_ENV: 'production',
			APP_OPTIONS: JSON.stringify(appOptions),
			SIGNALS: 'none'
		}
	});
	const urls: string[] = [];
	for await (const [message] of on(child, 'message')) {
		if (urls.push((message as { url: string }).url) === copies) break;
	}
	return { process: child, urls };
}

/** Starts a bundled app. Ended by `stop`, or by killing its process. */
export async function startApp(
	file: string,
	options: AppOptions & { signals?: 'none' | 'own' }
): Promise<App> {
	const { signals, ...appOptions } = options;
	const child = fork(file, {
		execArgv: ['--expose-gc'],
		env: {
			...process.env,
			NODE_ENV: 'production',
			APP_OPTIONS: JSON.stringify(appOptions),
			...(signals && { SIGNALS: signals })
		}
	});
	const next = async (has: (message: Record<string, unknown>) => boolean) => {
		for (;;) {
			const [message] = (await once(child, 'message')) as [Record<string, unknown>];
			if (has(message)) return message;
		}
	};
	const { url } = await next((message) => 'url' in message);
	return {
		url: String(url),
		process: child,
		ask: async (question: Question) => {
			const answered = next((message) => message.question === question);
			child.send(question);
			return (await answered).answer as never;
		},
		authorizing: async () => void (await next((message) => 'authorizing' in message)),
		async stop(signal) {
			const began = performance.now();
			const ended = once(child, 'exit');
			child.kill(signal);
			const [code, by] = (await ended) as [number | null, string | null];
			return { code, signal: by, afterMs: performance.now() - began };
		}
	};
}
