import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import { BROWSER } from './browser.js';
import { freePort } from './ports.js';
import { eventually } from './wait.js';

/** A tab of any browser, in front of the others. */
export interface BrowserTab {
	goto(url: string): Promise<void>;
	/** What a JavaScript expression is on the page, or what it is a promise of. */
	evaluate<T>(expression: string): Promise<T>;
	/** Hides it, as another tab in front of it does. */
	hide(): Promise<void>;
	show(): Promise<void>;
	/** Takes it off the network, or puts it on again; not every driver can. */
	setOffline?(isOffline: boolean): Promise<void>;
	/** Frees what nothing refers to any more. */
	collectGarbage(): Promise<void>;
	/** What went wrong on its pages: what nobody caught, and errors and warnings of the console. */
	problems(): Promise<readonly string[]>;
	close(): Promise<void>;
}

/** A browser of any make. Ended by `close`. */
export interface AnyBrowser {
	open(): Promise<BrowserTab>;
	close(): Promise<void>;
}

const FIREFOX = process.env.FIREFOX_PATH ?? '/usr/bin/firefox-esr';
const WEBKIT = process.env.WEBKIT_DRIVER_PATH ?? '/usr/bin/WebKitWebDriver';
const XVFB = '/usr/bin/Xvfb';

/** Chromium, driven like Firefox. */
export const CHROMIUM = { name: 'Chromium', isHere: true, start: startChromium };

/** The browsers to test besides Chromium, and whether they are installed. */
export const OTHERS = [
	{ name: 'Firefox', isHere: existsSync(FIREFOX), start: startFirefox },
	{ name: 'WebKit', isHere: existsSync(WEBKIT) && existsSync(XVFB), start: startWebKit }
];

async function startChromium(): Promise<AnyBrowser> {
	const browser = await puppeteer.launch({ ...BROWSER, headless: true });
	return drive(browser, async (page) => {
		const session = await page.createCDPSession();
		await session.send('HeapProfiler.collectGarbage');
		await session.detach();
	});
}

async function startFirefox(): Promise<AnyBrowser> {
	const browser = await puppeteer.launch({
		browser: 'firefox',
		executablePath: FIREFOX,
		headless: true,
		// It is what web-platform-tests collect garbage with.
		extraPrefsFirefox: { 'dom.testing.testutils.enabled': true }
	});
	return drive(browser, (page) => page.evaluate('TestUtils.gc()') as Promise<void>);
}

/** A browser under Puppeteer. */
function drive(browser: Browser, collectGarbage: (page: Page) => Promise<void>): AnyBrowser {
	return {
		async open() {
			const page = await browser.newPage();
			const problems: string[] = [];
			page.on('pageerror', (error) => problems.push(String(error)));
			page.on('console', (message) => {
				if (/error|warn/.test(message.type())) problems.push(message.text());
			});
			return {
				goto: async (url) => void (await page.goto(url)),
				evaluate: (expression) => page.evaluate(expression) as Promise<never>,
				hide: async () => (await browser.pages())[0]!.bringToFront(),
				show: () => page.bringToFront(),
				setOffline: (isOffline) => page.setOfflineMode(isOffline),
				collectGarbage: () => collectGarbage(page),
				problems: () => Promise.resolve(problems),
				close: () => page.close()
			};
		},
		close: () => browser.close()
	};
}

/** Collects on the page what goes wrong there from now on; nothing tells WebDriver of it. */
const RECORD = `(() => {
	if (window.problems) return;
	const problems = (window.problems = []);
	addEventListener('error', ({ message }) => problems.push(message));
	addEventListener('unhandledrejection', ({ reason }) => problems.push(String(reason)));
	for (const kind of ['error', 'warn']) {
		console[kind] = (...what) => problems.push(what.map(String).join(' '));
	}
})()`;

/** Allocates so much that the engine collects garbage, also what is old; nothing else makes it do so. */
const ALLOCATE = `(async () => {
	for (let count = 0; count < 10; count++) {
		Array.from({ length: 200 }, (_, index) => new Array(10_000).fill(index));
		await new Promise((resolve) => setTimeout(resolve, 5));
	}
})()`;

/** MiniBrowser under Xvfb, driven by W3C WebDriver. */
async function startWebKit(): Promise<AnyBrowser> {
	const home = await mkdtemp(join(tmpdir(), 'webkit-'));
	const display = `:${100 + (process.pid % 1_000)}`;
	const port = await freePort();
	const env = {
		...process.env,
		DISPLAY: display,
		HOME: home,
		XDG_RUNTIME_DIR: home,
		// Whatever it collects, it looks at old objects too.
		JSC_useGenerationalGC: 'false',
		// There is no graphics card: compositing would be computed, for pages that nobody sees.
		WEBKIT_DISABLE_COMPOSITING_MODE: '1',
		WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1'
	};
	// Groups of their own: a browser has many processes, and all must end.
	const start = (command: string, args: string[]): ChildProcess =>
		spawn(command, args, { env, detached: true, stdio: 'ignore' });
	const screen = start(XVFB, [display, '-screen', '0', '1280x900x24', '-nolisten', 'tcp']);
	const driver = start(WEBKIT, [`--port=${port}`]);
	const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
		const response = await fetch(`http://127.0.0.1:${port}${path}`, {
			method,
			...(body && { body: JSON.stringify(body) })
		});
		const { value } = (await response.json()) as { value: T & { message?: string } };
		if (!response.ok) throw new Error(`${method} ${path}: ${value.message}`);
		return value;
	};
	const isUp = (): Promise<boolean> =>
		call('GET', '/status').then(
			() => existsSync(`/tmp/.X11-unix/X${display.slice(1)}`),
			() => false
		);
	await eventually(isUp, 'the driver of WebKit');
	const { sessionId } = await call<{ sessionId: string }>('POST', '/session', {
		capabilities: {
			alwaysMatch: {
				'webkitgtk:browserOptions': {
					binary: '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser',
					args: ['--automation']
				}
			}
		}
	});
	const session = `/session/${sessionId}`;
	// It stays open: the browser ends with its last window.
	const first = await call<string>('GET', `${session}/window`);
	// One window at a time can be spoken to.
	let last: Promise<unknown> = Promise.resolve();
	const inWindow = <T>(handle: string, act: () => Promise<T>): Promise<T> => {
		const next = last.then(async () => {
			await call('POST', `${session}/window`, { handle });
			return act();
		});
		last = next.catch(() => {});
		return next;
	};
	const evaluate = async <T>(expression: string): Promise<T> => {
		const { value, error } = await call<{ value: T; error?: string }>(
			'POST',
			`${session}/execute/async`,
			{
				script: `(async () => ${expression})().then(
					(value) => arguments[0]({ value }),
					(error) => arguments[0]({ error: String(error) })
				)`,
				args: []
			}
		);
		if (error) throw new Error(error);
		return value;
	};
	return {
		async open() {
			// A window of its own: a tab would be hidden.
			const { handle } = await inWindow(first, () =>
				call<{ handle: string }>('POST', `${session}/window/new`, { type: 'window' })
			);
			const here = <T>(act: () => Promise<T>): Promise<T> => inWindow(handle, act);
			const earlier: string[] = [];
			return {
				goto: (url) =>
					here(async () => {
						earlier.push(...(await evaluate<string[]>('(window.problems ?? [])')));
						await call('POST', `${session}/url`, { url });
						await evaluate(RECORD);
					}),
				evaluate: (expression) => here(() => evaluate(expression)),
				hide: () => here(() => call('POST', `${session}/window/minimize`, {})),
				show: () =>
					here(() => call('POST', `${session}/window/rect`, { width: 1280, height: 900 })),
				collectGarbage: () => here(() => evaluate(ALLOCATE)),
				problems: async () => [...earlier, ...(await here(() => evaluate<string[]>('problems')))],
				close: () => here(async () => void (await call('DELETE', `${session}/window`)))
			};
		},
		async close() {
			await call('DELETE', session).catch(() => {});
			for (const child of [driver, screen]) {
				const ended = once(child, 'exit');
				process.kill(-child.pid!, 'SIGKILL');
				await ended;
			}
			await rm(home, { recursive: true, force: true, maxRetries: 5 });
		}
	};
}
