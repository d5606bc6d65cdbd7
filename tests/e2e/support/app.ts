import { spawn, type ChildProcess } from 'node:child_process';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Browser, Page } from 'playwright';
import { startInngestDev, type InngestDev } from '../../../src/lib/dev/index.js';
import { launchBrowser } from '../../support/browser.js';
import { freePort } from '../../support/ports.js';
import { cleanEnvironment, ROOT, SERVER } from './build.js';

/** Somebody with a browser window of their own. */
export interface Visitor {
	page: Page;
	name: string;
	/** What went wrong on the page, in the console or on the way to the server. */
	problems: string[];
	/** Removes problems that a test causes on purpose: browsers log every request that fails. */
	forgive(pattern: RegExp): void;
	signIn(role: 'Signed out' | 'Member' | 'Admin'): Promise<void>;
}

/** The demo's production build and an engine. Ended by `close()`. */
export interface Demo {
	engine: InngestDev;
	/** Where browsers reach the demo. */
	url: string;
	/** Cuts all connections between browsers and the demo, like a network that fails for a moment. */
	cut(): void;
	/** Kills the demo's server without a warning, and starts it again on the same port. */
	restart(): Promise<void>;
	close(): Promise<void>;
}

/** The demo, and a browser. Ended by `close()`. */
export interface DemoApp extends Demo {
	/** Opens a page in a new window with its own cookies, and waits until its channels are connected. */
	visit(path: string, options?: VisitOptions): Promise<Visitor>;
}

export interface VisitOptions {
	colorScheme?: 'light' | 'dark';
	width?: number;
}

/** Starts everything. */
export async function startApp(): Promise<DemoApp> {
	const [demo, browser] = await Promise.all([
		startDemo(),
		// Playwright turns the back/forward cache off.
		launchBrowser({ ignoreDefaultArgs: ['--disable-back-forward-cache'] })
	]);
	return {
		...demo,
		visit: (path, options) => visit(browser, demo.url + path, options),
		async close() {
			await browser.close();
			await demo.close();
		}
	};
}

/** Starts the demo, for any browser. */
export async function startDemo(): Promise<Demo> {
	const [engine, port] = await Promise.all([startInngestDev(), freePort()]);
	const line = await Line.open(port);
	const start = async (): Promise<ChildProcess> => {
		const child = spawn(process.execPath, [SERVER], {
			cwd: ROOT,
			env: cleanEnvironment({
				PORT: String(port),
				ORIGIN: line.url,
				INNGEST_DEV: '1',
				INNGEST_BASE_URL: engine.url,
				NODE_ENV: 'production'
			}),
			stdio: ['ignore', 'pipe', 'pipe']
		});
		await output(child, 'Listening on');
		return child;
	};
	const end = async (signal: NodeJS.Signals): Promise<void> => {
		const ended = new Promise((resolve) => child.once('close', resolve));
		child.kill(signal);
		await ended;
	};
	let child = await start();
	if (!(await engine.register(`http://localhost:${port}/api/inngest`))) {
		throw new Error('The demo could not be registered with the engine.');
	}
	return {
		engine,
		url: line.url,
		cut: () => line.cut(),
		async restart() {
			await end('SIGKILL');
			child = await start();
		},
		async close() {
			await end('SIGTERM');
			await line.close();
			await engine.close();
		}
	};
}

/** Opens a page and waits until its channels are connected. */
export async function visit(
	browser: Browser,
	url: string,
	{ colorScheme = 'light', width = 1280 }: VisitOptions = {}
): Promise<Visitor> {
	const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
	const page = await context.newPage();
	page.setDefaultTimeout(50_000);
	const problems: string[] = [];
	page.on('pageerror', (error) => problems.push(error.message));
	page.on('console', (message) => {
		if (['error', 'warning'].includes(message.type())) problems.push(message.text());
	});
	page.on('response', (response) => {
		if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
	});
	page.on('requestfailed', (request) => {
		const { errorText = '' } = request.failure() ?? {};
		// A stream is aborted by the page that leaves it.
		if (errorText !== 'net::ERR_ABORTED') problems.push(`${errorText} ${request.url()}`);
	});
	// A dev server bundles what the first visitor needs.
	await page.goto(url, { timeout: 100_000 });
	const name = (await page.locator('#who strong').innerText()).toLowerCase();
	await connected(page);
	return {
		page,
		name,
		problems,
		forgive(pattern) {
			const others = problems.filter((problem) => !pattern.test(problem));
			problems.splice(0, problems.length, ...others);
		},
		async signIn(role) {
			await page.getByRole('button', { name: role, exact: true }).click();
			await page.locator(`[aria-pressed=true]:text-is("${role}")`).waitFor();
		}
	};
}

/** Waits until all channels that the page shows are connected. */
export async function connected(page: Page): Promise<void> {
	const all = await page.locator('.health').count();
	await page.waitForFunction(
		(count) => document.querySelectorAll('.health .connected').length === count,
		all
	);
}

/** A proxy between browsers and the demo. It forwards bytes both ways until it is cut. Ended by `close()`. */
class Line {
	readonly url: string;
	readonly #server: Server;
	readonly #sockets: Set<Socket>;

	private constructor(server: Server, sockets: Set<Socket>) {
		this.#server = server;
		this.#sockets = sockets;
		this.url = `http://localhost:${(server.address() as AddressInfo).port}`;
	}

	static async open(port: number): Promise<Line> {
		const sockets = new Set<Socket>();
		const server = createServer((socket) => {
			const onward = connect(port, 'localhost');
			for (const [one, other] of [
				[socket, onward],
				[onward, socket]
			] as const) {
				sockets.add(one);
				one.on('error', () => one.destroy());
				one.on('close', () => {
					sockets.delete(one);
					other.destroy();
				});
				one.pipe(other);
			}
		});
		await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
		return new Line(server, sockets);
	}

	cut(): void {
		for (const socket of this.#sockets) socket.destroy();
	}

	async close(): Promise<void> {
		const closed = new Promise((resolve) => this.#server.close(resolve));
		this.cut();
		await closed;
	}
}

/** Waits until a program has written `text`, and resolves with all of its output so far. */
export function output(child: ChildProcess, text: string, timeoutMs = 30_000): Promise<string> {
	return new Promise((resolve, reject) => {
		let written = '';
		const fail = (why: string): void => reject(new Error(`${why}; it wrote:\n${written}`));
		const timer = setTimeout(() => fail(`A program did not write "${text}"`), timeoutMs);
		child.stdout?.on('data', (data: Buffer) => {
			written += data.toString();
			if (!written.includes(text)) return;
			clearTimeout(timer);
			resolve(written);
		});
		child.once('close', () => fail('A program ended too early'));
	});
}
