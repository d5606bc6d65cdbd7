import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { BROWSER } from '../../support/browser.js';

interface Answer {
	id?: number;
	result?: Record<string, unknown>;
	error?: { message: string };
}

/**
 * A tab that can be hidden by another, driven by the DevTools protocol: pages under Playwright are made
 * to believe that they are always visible. Ended by `close()`.
 */
export class Tab {
	readonly #browser: ChildProcess;
	readonly #profile: string;
	readonly #socket: WebSocket;
	readonly #waiting = new Map<number, (answer: Answer) => void>();
	#lastId = 0;
	#target = '';
	#session = '';

	private constructor(browser: ChildProcess, profile: string, socket: WebSocket) {
		this.#browser = browser;
		this.#profile = profile;
		this.#socket = socket;
		socket.on('message', (data) => {
			const answer = JSON.parse(String(data)) as Answer;
			if (answer.id) this.#waiting.get(answer.id)?.(answer);
		});
	}

	static async open(url: string): Promise<Tab> {
		const profile = await mkdtemp(join(tmpdir(), 'tab-'));
		const { executablePath, args } = BROWSER;
		const browser = spawn(
			executablePath,
			['--headless', ...args, '--remote-debugging-port=0', `--user-data-dir=${profile}`],
			{ stdio: ['ignore', 'ignore', 'pipe'] }
		);
		let written = '';
		const address = await new Promise<string>((resolve, reject) => {
			browser.once('exit', () => reject(new Error(`Chromium ended too early:\n${written}`)));
			browser.stderr?.on('data', (data: Buffer) => {
				written += data.toString();
				const found = /DevTools listening on (\S+)/.exec(written)?.[1];
				if (found) resolve(found);
			});
		});
		const socket = new WebSocket(address);
		await once(socket, 'open');
		const tab = new Tab(browser, profile, socket);
		const { targetId } = await tab.#call('Target.createTarget', { url });
		tab.#target = String(targetId);
		const { sessionId } = await tab.#call('Target.attachToTarget', { targetId, flatten: true });
		tab.#session = String(sessionId);
		return tab;
	}

	/** What an expression is on the page. */
	async evaluate<T>(expression: string): Promise<T> {
		const { result } = await this.#call(
			'Runtime.evaluate',
			{ expression, returnByValue: true },
			this.#session
		);
		return (result as { value: T }).value;
	}

	/** Opens another tab in front of this one. */
	async hide(): Promise<void> {
		await this.#call('Target.createTarget', { url: 'about:blank' });
	}

	/** Brings this tab to the front again. */
	async show(): Promise<void> {
		await this.#call('Target.activateTarget', { targetId: this.#target });
	}

	async close(): Promise<void> {
		this.#socket.terminate();
		const ended = once(this.#browser, 'exit');
		this.#browser.kill('SIGKILL');
		await ended;
		await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
	}

	async #call(method: string, params: object, sessionId?: string) {
		const id = ++this.#lastId;
		const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
		this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
		const { result, error } = await answered;
		this.#waiting.delete(id);
		if (!result) throw new Error(`${method}: ${error?.message}`);
		return result;
	}
}
