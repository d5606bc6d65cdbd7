import { ROBOT } from './people.js';

const STAY_MS = 60_000;
const UPDATES_PER_SECOND = 30;

type Fetch = typeof globalThis.fetch;

/** Simulated people who are on the board now. */
let crowd: Robot[] = [];

/**
 * Simulated people come to the board for a minute, each with its own stream, like a page.
 *
 * @param fetch The `fetch` of a request: it calls this server without going through the network.
 */
export function gather(fetch: Fetch, count: number): void {
	disperse();
	crowd = Array.from({ length: count }, (_, n) => new Robot(fetch, n + 1));
	const own = crowd;
	setTimeout(() => own === crowd && disperse(), STAY_MS).unref();
}

export function disperse(): void {
	for (const robot of crowd.splice(0)) robot.leave();
}

/** One of them: reads the channel, and moves its cursor. */
class Robot {
	readonly #fetch: Fetch;
	readonly #number: number;
	readonly #leaving = new AbortController();
	#isSending = false;

	constructor(fetch: Fetch, number: number) {
		this.#fetch = fetch;
		this.#number = number;
		this.#live().catch(() => this.leave());
	}

	leave(): void {
		this.#leaving.abort();
	}

	async #live(): Promise<void> {
		const response = await this.#post({ channel: 'board' });
		const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
		const { signal } = this.#leaving;
		signal.addEventListener('abort', () => void reader.cancel().catch(() => {}));
		let timer: ReturnType<typeof setInterval> | undefined;
		for (let text = ''; !signal.aborted;) {
			const { done, value } = await reader.read();
			if (done) break;
			if (timer) continue;
			text += value;
			const stream = /"stream":"([^"]+)"/.exec(text)?.[1];
			if (stream) timer = setInterval(() => void this.#move(stream), 1_000 / UPDATES_PER_SECOND);
		}
		clearInterval(timer);
	}

	/** Each moves on its own curve. */
	async #move(stream: string): Promise<void> {
		if (this.#isSending) return;
		this.#isSending = true;
		const at = Date.now() / (900 + 60 * this.#number) + this.#number;
		const x = 0.5 + 0.45 * Math.sin(at);
		const y = 0.5 + 0.45 * Math.cos(at * 1.3);
		await this.#post({ presence: { stream, data: { x, y } } }).catch(() => this.leave());
		this.#isSending = false;
	}

	#post(body: object): Promise<Response> {
		return this.#fetch('/api/events', {
			method: 'POST',
			credentials: 'omit',
			headers: {
				'content-type': 'application/json',
				cookie: `demo=${ROBOT}${this.#number}.member`
			},
			body: JSON.stringify(body)
		});
	}
}
