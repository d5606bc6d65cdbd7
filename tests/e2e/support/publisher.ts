import { expect } from 'vitest';
import type { InngestDev } from '../../../src/lib/dev/index.js';
import { count, grows, type AnyPage } from './counts.js';

/** Publishes 1, 2, 3 … on somebody's channel of the page “Break it” until it is stopped. */
export class Publisher {
	sent = 0;
	readonly #timer: NodeJS.Timeout;

	constructor(engine: InngestDev, name: string) {
		this.#timer = setInterval(() => {
			const data = { run: 'test', n: ++this.sent };
			engine.publish({ channel: `counter:${name}`, topic: 'number', data });
		}, 20);
	}

	/** Waits until it has sent some more. */
	async sends(some: number): Promise<void> {
		const before = this.sent;
		await expect.poll(() => this.sent).toBeGreaterThan(before + some);
	}

	/** Expects each number to have come to the page once, or to be missing as announced. */
	async expectIntact(page: AnyPage, gaps = 0): Promise<void> {
		await grows(page, 'Received', 20);
		this.stop();
		const accounted = async () =>
			(await count(page, 'Received')) + (await count(page, 'Lost in gaps'));
		await expect.poll(accounted).toBe(this.sent);
		expect(await count(page, 'Announced gaps')).toBe(gaps);
		expect(await count(page, 'Lost silently')).toBe(0);
		expect(await count(page, 'Repeated')).toBe(0);
	}

	stop(): void {
		clearInterval(this.#timer);
	}
}
