import { setTimeout as delay } from 'node:timers/promises';
import { startInngestDev } from '../engine.js';
import { post } from '../post.js';
import type { DevLogger, InngestDev } from '../types.js';
import { findEngine } from './discover.js';
import type { FoundEngine } from './discover.js';
import { AppEnvironment, readEnvironment } from './environment.js';

/** Counts loads of the app's server code; its presence tells the package's server side of the plugin. */
const LOADS = Symbol.for('sveltekit-inngest.loads');
/** Functions that end what holds on to old code. */
const RELOAD = Symbol.for('sveltekit-inngest.reload');
const SHARED = Symbol.for('sveltekit-inngest.engine');

const RELOAD_MS = 100;
const PORTS_TO_TRY = 20;
// A dev server looks for apps by itself every 5 seconds.
const EXTERNAL_HELP_MS = 6_000;

/** An engine of our own, one that was found, or none: Inngest Cloud. */
type Engine = { own?: InngestDev; found?: FoundEngine };

/** The engine of this process, and how many Vite servers use it: while one restarts there are two. */
interface Shared {
	engine: Engine;
	environment: AppEnvironment;
	users: number;
}

const globals = globalThis as {
	[LOADS]?: number | undefined;
	[RELOAD]?: Set<() => void>;
	[SHARED]?: Promise<Shared>;
};

/** What an attachment needs. */
export interface AttachmentOptions {
	logger: DevLogger;
	port: number;
	servePath: string;
	/** What `.env` files say of Inngest. */
	envFiles: Record<string, string>;
}

/** What one Vite server has to do with the engine. Ended by `close()`. */
export class Attachment {
	readonly #logger: DevLogger;
	readonly #shared: Shared;
	readonly #servePath: string;
	readonly #closed = new AbortController();
	#appUrl: string | undefined;
	#reloadTimer: NodeJS.Timeout | undefined;

	private constructor({ logger, servePath }: AttachmentOptions, shared: Shared) {
		this.#logger = logger;
		this.#servePath = servePath;
		this.#shared = shared;
		shared.users++;
	}

	/** Finds or starts an engine, and points the app's environment at it. */
	static async open(options: AttachmentOptions): Promise<Attachment> {
		countLoad();
		globals[RELOAD] ??= new Set();
		const shared = await (globals[SHARED] ??= share(options)).catch((error: unknown) => {
			globals[SHARED] = undefined;
			throw error;
		});
		shared.environment.offer(options.envFiles);
		return new Attachment(options, shared);
	}

	/** Has the app registered that listens on `origin` from now on. */
	serve(origin: string): void {
		this.#appUrl = origin + this.#servePath;
		const { own, found } = this.#shared.engine;
		if (own) void own.register(this.#appUrl);
		else if (found) void this.#help(found, this.#appUrl);
	}

	/** Server code changed: ends what holds on to the old one, and registers the app again. */
	reload(): void {
		countLoad();
		clearTimeout(this.#reloadTimer);
		this.#reloadTimer = setTimeout(() => {
			for (const end of globals[RELOAD] ?? []) this.#attempt(end);
			if (this.#appUrl) void this.#shared.engine.own?.register(this.#appUrl);
		}, RELOAD_MS).unref();
	}

	async close(): Promise<void> {
		if (this.#closed.signal.aborted) return;
		this.#closed.abort();
		clearTimeout(this.#reloadTimer);
		if (--this.#shared.users > 0) return;
		globals[SHARED] = undefined;
		globals[LOADS] = undefined;
		this.#shared.environment.restore();
		await this.#shared.engine.own?.close();
	}

	/** Registers the app where a dev server has not found it by itself. */
	async #help({ url }: FoundEngine, appUrl: string): Promise<void> {
		try {
			const { signal } = this.#closed;
			await delay(EXTERNAL_HELP_MS, undefined, { signal, ref: false });
			if ((await findEngine(url))?.knows(this.#servePath)) return;
			await post(appUrl, '{}', {
				method: 'PUT',
				headers: { 'content-type': 'application/json' },
				signal
			});
		} catch {
			// Closed, or the app does not answer: the dev server goes on asking it.
		}
	}

	#attempt(end: () => void): void {
		try {
			end();
		} catch (error) {
			this.#logger.error(`[inngest dev] A stream could not be ended: ${String(error)}`);
		}
	}
}

function countLoad(): void {
	globals[LOADS] = (globals[LOADS] ?? 0) + 1;
}

async function share({ logger, port, envFiles }: AttachmentOptions): Promise<Shared> {
	const environment = new AppEnvironment();
	environment.offer(envFiles);
	const { cloud, url: asked } = readEnvironment();
	if (cloud) {
		logger.info('  ➜  Inngest: Inngest Cloud, as INNGEST_DEV=0 says');
		return { engine: {}, environment, users: 0 };
	}
	const found = await find(asked, port);
	const own = found ? undefined : await start(logger, port);
	const url = found?.url ?? own!.url;
	const missed = asked && own ? ` (nothing answers at ${asked})` : '';
	logger.info(`  ➜  Inngest: ${own ? 'embedded engine' : 'dev server'} at ${url}${missed}`);
	environment.set('INNGEST_BASE_URL', url);
	if (!isDevMode(process.env.INNGEST_DEV, url)) environment.set('INNGEST_DEV', '1');
	return { engine: { ...(found && { found }), ...(own && { own }) }, environment, users: 0 };
}

/** What answers where the environment says; without that, a full dev server at the usual port. */
async function find(asked: string | undefined, port: number): Promise<FoundEngine | undefined> {
	if (asked) return findEngine(asked);
	const usual = await findEngine(`http://localhost:${port}`);
	// An embedded one belongs to another process and ends with it.
	return usual?.embedded ? undefined : usual;
}

/** Starts an engine at `port`, or at the next that is free. */
async function start(logger: DevLogger, port: number): Promise<InngestDev> {
	for (let offset = 0; ; offset++) {
		try {
			return await startInngestDev({ port: port && port + offset, logger });
		} catch (error) {
			const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
			if (!taken || offset >= PORTS_TO_TRY) throw error;
		}
	}
}

/** Whether the SDK takes this value of INNGEST_DEV for "use the engine". */
function isDevMode(mode: string | undefined, url: string): boolean {
	if (!mode) return false;
	return URL.canParse(mode) ? new URL(mode).origin === new URL(url).origin : true;
}
