import { spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of the project. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** The server of the demo's production build. */
export const SERVER = join(ROOT, 'build/index.js');

const SOURCES = ['src', 'static', 'svelte.config.js', 'vite.config.ts', 'package-lock.json'];

/** An environment for programs that must not believe that they run in a test. */
export function cleanEnvironment(more: Record<string, string>): NodeJS.ProcessEnv {
	const own = Object.entries(process.env).filter(
		([name]) => !/^(VITEST|VITE|INNGEST|TEST$|NODE_ENV$|DEV$|PROD$|MODE$|SSR$|BASE_URL$)/.test(name)
	);
	return { ...Object.fromEntries(own), ...more };
}

/** Vitest calls it once, before the tests. It builds the demo, unless there is a build newer than its sources. */
export async function setup(): Promise<void> {
	if (!isFresh()) await build();
}

function isFresh(): boolean {
	if (!existsSync(SERVER)) return false;
	const builtAt = statSync(SERVER).mtimeMs;
	// Folders count as well: they change when a file in them is deleted.
	const sources = SOURCES.flatMap((name) => {
		const path = join(ROOT, name);
		const isFolder = statSync(path).isDirectory();
		const inside = isFolder ? readdirSync(path, { recursive: true, encoding: 'utf8' }) : [];
		return [path, ...inside.map((one) => join(path, one))];
	});
	return sources.every((path) => statSync(path).mtimeMs < builtAt);
}

async function build(): Promise<void> {
	const vite = join(ROOT, 'node_modules/vite/bin/vite.js');
	const child = spawn(process.execPath, [vite, 'build', '--logLevel', 'warn'], {
		cwd: ROOT,
		env: cleanEnvironment({}),
		stdio: ['ignore', 'ignore', 'pipe']
	});
	let errors = '';
	child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
	const code = await new Promise((resolve) => child.once('close', resolve));
	if (code !== 0) throw new Error(`The demo could not be built:\n${errors}`);
}
