import { dev } from '$app/environment';
import type { InngestDev } from 'sveltekit-inngest/dev';

/** Where the Vite plugin keeps the engine that it started in this process. */
const KEY = Symbol.for('sveltekit-inngest.engine');
const globals = globalThis as { [KEY]?: Promise<{ engine: { own?: InngestDev } }> };

/** The ways to break and repair it. */
export const faults = ['drop', 'stop', 'start', 'restart'] as const;
export type Fault = (typeof faults)[number];

/** The embedded engine, if it runs in this process: under `vite dev`. */
export async function findEngine(): Promise<InngestDev | undefined> {
	return dev ? (await globals[KEY])?.engine.own : undefined;
}

let stopped = false;

/** Whether the engine refuses tokens, and with them all new connections. */
export function isStopped(): boolean {
	return stopped;
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Breaks or repairs the embedded engine. Calls wait for each other, because two restarts at once would
 * both need the same port.
 *
 * @param appUrl The app's serve endpoint, to register with an engine that has just started.
 */
export function cause(fault: Fault, appUrl: string): Promise<void> {
	const done = last.then(() => apply(fault, appUrl));
	last = done.catch(() => {});
	return done;
}

async function apply(fault: Fault, appUrl: string): Promise<void> {
	const engine = await findEngine();
	if (!engine) return;
	if (fault !== 'drop') stopped = fault === 'stop';
	engine.failTokens(stopped ? 503 : null);
	if (fault === 'drop' || fault === 'stop') engine.dropSockets();
	if (fault === 'restart') await restart(engine, appUrl);
}

async function restart(engine: InngestDev, appUrl: string): Promise<void> {
	const shared = await globals[KEY];
	if (!dev || !shared) return;
	const { startInngestDev } = await import('sveltekit-inngest/dev');
	await engine.close();
	shared.engine.own = await startInngestDev({ port: engine.port });
	await shared.engine.own.register(appUrl);
}
