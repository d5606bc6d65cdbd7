import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer, { type Browser as Firefox } from 'puppeteer-core';
import { freePort } from './ports.js';
import { eventually } from './wait.js';

/** A tab of any browser. */
export interface BrowserTab {
	goto(url: string): Promise<void>;
	/** What a JavaScript expression is on the page. */
	evaluate<T>(expression: string): Promise<T>;
	close(): Promise<void>;
}

/** A browser that is no Chromium. Ended by `close`. */
export interface OtherBrowser {
	open(): Promise<BrowserTab>;
	close(): Promise<void>;
}

const FIREFOX = process.env.FIREFOX_PATH ?? '/usr/bin/firefox-esr';
const WEBKIT = process.env.WEBKIT_DRIVER_PATH ?? '/usr/bin/WebKitWebDriver';
const XVFB = '/usr/bin/Xvfb';

/** The browsers to test besides Chromium, and whether they are installed. */
export const OTHERS = [
	{ name: 'Firefox', isHere: existsSync(FIREFOX), start: startFirefox },
	{ name: 'WebKit', isHere: existsSync(WEBKIT) && existsSync(XVFB), start: startWebKit }
];

async function startFirefox(): Promise<OtherBrowser> {
	const browser: Firefox = await puppeteer.launch({
		browser: 'firefox',
		executablePath: FIREFOX,
		headless: true
	});
	return {
		async open() {
			const page = await browser.newPage();
			return {
				goto: async (url) => void (await page.goto(url)),
				evaluate: (expression) => page.evaluate(expression) as Promise<never>,
				close: () => page.close()
			};
		},
		close: () => browser.close()
	};
}

/** MiniBrowser under Xvfb, driven by W3C WebDriver. */
async function startWebKit(): Promise<OtherBrowser> {
	const home = await mkdtemp(join(tmpdir(), 'webkit-'));
	const display = `:${100 + (process.pid % 1_000)}`;
	const port = await freePort();
	const env = {
		...process.env,
		DISPLAY: display,
		HOME: home,
		XDG_RUNTIME_DIR: home,
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
			() => true,
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
	return {
		async open() {
			const { handle } = await inWindow(first, () =>
				call<{ handle: string }>('POST', `${session}/window/new`, { type: 'tab' })
			);
			return {
				goto: (url) => inWindow(handle, () => call('POST', `${session}/url`, { url })),
				evaluate: (expression) =>
					inWindow(handle, () =>
						call('POST', `${session}/execute/sync`, { script: `return ${expression}`, args: [] })
					),
				close: () => inWindow(handle, async () => void (await call('DELETE', `${session}/window`)))
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
