import { startInngestDev } from '../engine.js';
import type { DevLogger, InngestDev } from '../types.js';
import { findEngine } from './discover.js';
import { AppEnvironment, readEnvironment } from './environment.js';
import { Registration } from './registration.js';

/**
 * Counts loads of the app's server code. It also tells the package's server side that the plugin is in use.
 */
const LOADS = Symbol.for('sveltekit-inngest.loads');
/** Functions that end everything that still uses old code. */
const RELOAD = Symbol.for('sveltekit-inngest.reload');
const SHARED = Symbol.for('sveltekit-inngest.engine');

const RELOAD_MS = 100;
const PORTS_TO_TRY = 20;

/** An embedded engine, the URL of a running dev server, or neither: Inngest Cloud. */
type Engine = { own?: InngestDev; foundUrl?: string };

/** The engine of this process, and how many Vite servers use it. While one restarts there are two. */
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

/** Options of an attachment. */
export interface AttachmentOptions {
	logger: DevLogger;
	port: number;
	servePath: string;
	/** See `InngestDevOptions`. */
	allowedHosts: readonly string[];
	/** Variables of `.env` files that concern Inngest. */
	envFiles: Record<string, string>;
}

/** Connects one Vite server to the engine. Ended by `close()`. */
export class Attachment {
	readonly #logger: DevLogger;
	readonly #shared: Shared;
	readonly #servePath: string;
	readonly #closed = new AbortController();
	readonly #registration: Registration | undefined;
	#appUrl: string | undefined;
	/** Whether the embedded engine knows the app. */
	#isRegistered: boolean | undefined;
	#reloadTimer: NodeJS.Timeout | undefined;

	private constructor({ logger, servePath }: AttachmentOptions, shared: Shared) {
		this.#logger = logger;
		this.#servePath = servePath;
		this.#shared = shared;
		const { foundUrl } = shared.engine;
		this.#registration = foundUrl ? new Registration(logger, foundUrl) : undefined;
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

	/**
	 * Registers the app, which is listening now.
	 *
	 * @param baseUrl Its origin, with the base path if it has one.
	 */
	serve(baseUrl: string): void {
		const base = new URL(baseUrl).pathname.replace(/\/$/, '');
		const hasBase = base !== '' && this.#servePath.startsWith(`${base}/`);
		this.#appUrl = new URL(hasBase ? this.#servePath : base + this.#servePath, baseUrl).href;
		void this.#register();
	}

	/** Ends everything that still uses changed server code, and registers the app again. */
	reload(): void {
		countLoad();
		clearTimeout(this.#reloadTimer);
		this.#reloadTimer = setTimeout(() => {
			for (const end of globals[RELOAD] ?? []) this.#attempt(end);
			void this.#register();
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

	/** Always registers the app, because its URL or functions may differ from those known to the engine. */
	async #register(): Promise<void> {
		const appUrl = this.#appUrl;
		if (!appUrl) return;
		await this.#registration?.register(appUrl, this.#closed.signal);
		const { own } = this.#shared.engine;
		const registered = await own?.register(appUrl);
		if (this.#closed.signal.aborted || this.#isRegistered === registered) return;
		this.#isRegistered = registered;
		// If it did not register, the reason is in the log.
		if (registered) this.#logger.info(`[inngest dev] Registered the app at ${appUrl}`);
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

async function share(options: AttachmentOptions): Promise<Shared> {
	const { logger, port, envFiles } = options;
	const environment = new AppEnvironment();
	environment.offer(envFiles);
	const { cloud, url: asked } = readEnvironment();
	if (cloud) {
		logger.info('  ➜  Inngest: Inngest Cloud, as INNGEST_DEV=0 says');
		return { engine: {}, environment, users: 0 };
	}
	const foundUrl = await find(asked, port);
	const own = foundUrl ? undefined : await start(options);
	const url = foundUrl ?? own!.url;
	const missed = asked && own ? ` (nothing answers at ${asked})` : '';
	logger.info(`  ➜  Inngest: ${own ? 'embedded engine' : 'dev server'} at ${url}${missed}`);
	environment.set('INNGEST_BASE_URL', url);
	if (!isDevMode(process.env.INNGEST_DEV, url)) environment.set('INNGEST_DEV', '1');
	const engine = own ? { own } : { foundUrl: url };
	return { engine, environment, users: 0 };
}

/**
 * URL of the server that the environment names, if it answers; without such a name, of a full dev server at
 * the port.
 */
async function find(asked: string | undefined, port: number): Promise<string | undefined> {
	if (asked) return (await findEngine(asked))?.url;
	const usual = await findEngine(`http://localhost:${port}`);
	// An embedded engine belongs to another process and ends with it.
	return usual?.embedded ? undefined : usual?.url;
}

/** Starts an engine at `port`, or at the next free port. */
async function start({ logger, port, allowedHosts }: AttachmentOptions): Promise<InngestDev> {
	for (let offset = 0; ; offset++) {
		try {
			return await startInngestDev({ port: port && port + offset, logger, allowedHosts });
		} catch (error) {
			const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
			if (!taken || offset >= PORTS_TO_TRY) throw error;
		}
	}
}

/** Whether this value of INNGEST_DEV makes the SDK use the engine. */
function isDevMode(mode: string | undefined, url: string): boolean {
	if (!mode) return false;
	return URL.canParse(mode) ? new URL(mode).origin === new URL(url).origin : true;
}
