import { counterChannel } from '$demo/channels.js';
import { realtime } from './realtime.js';

const EVERY_MS = 100;
const MAX_MS = 5 * 60_000;
const MAX_COUNTERS = 200;

/**
 * Publishes 1, 2, 3 … on a person's channel, and repeats each number until Inngest accepts it. It stops by
 * itself after five minutes.
 */
class Counter {
	readonly #owner: string;
	#run = '';
	#sent = 0;
	#refused = 0;
	#until = 0;
	#busy = false;

	constructor(owner: string) {
		this.#owner = owner;
	}

	get state() {
		const { isRunning } = this;
		return { run: this.#run, sent: this.#sent, refused: this.#refused, isRunning };
	}

	get isRunning(): boolean {
		return Date.now() < this.#until;
	}

	start(): void {
		if (this.#sent === 0) this.#run = crypto.randomUUID();
		this.#until = Date.now() + MAX_MS;
		if (!this.#busy) void this.#count();
	}

	stop(): void {
		this.#until = 0;
	}

	async #count(): Promise<void> {
		this.#busy = true;
		while (this.isRunning) {
			const topic = counterChannel(this.#owner).number;
			try {
				await realtime.publish(topic, { run: this.#run, n: this.#sent + 1 });
				this.#sent++;
			} catch {
				this.#refused++;
			}
			// The timer does not keep a stopping server alive.
			await new Promise((resolve) => setTimeout(resolve, EVERY_MS).unref());
		}
		this.#busy = false;
	}
}

const counters = new Map<string, Counter>();

export function counterOf(owner: string): Counter {
	let counter = counters.get(owner);
	if (!counter) {
		counters.set(owner, (counter = new Counter(owner)));
		const [oldest] = counters;
		if (counters.size > MAX_COUNTERS && oldest) {
			oldest[1].stop();
			counters.delete(oldest[0]);
		}
	}
	return counter;
}
