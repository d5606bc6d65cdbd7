import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import type { ChannelState } from '../../src/lib/client/state/channel.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import { HttpTransport } from '../../src/lib/client/transport/http.js';

/** What a page heard of one channel: messages, in runs between which gaps were announced. */
type Runs = string[][];

/**
 * A page that notes what it hears of topics whose messages are the numbers from 1 on, published once it is
 * connected, and what breaks the promise: each message once and in order, unless a gap of its channel was announced.
 */
export class Witness {
	/** What broke the promise. */
	readonly faults: string[] = [];
	resyncs = 0;
	/** Messages that came after it had been announced that they may be missing. */
	late = 0;
	readonly #name: string;
	readonly #bus: RealtimeBus;
	readonly #states: ChannelState[] = [];
	readonly #runs = new Map<string, Runs>();
	/** Newest number of each topic. */
	readonly #last = new Map<string, number>();
	/** What was skipped where a gap was announced. */
	readonly #missing = new Set<string>();
	/** How many gaps of each channel were announced, and how many when each topic was last heard. */
	readonly #gaps = new Map<string, number>();
	readonly #gapsBefore = new Map<string, number>();

	constructor(
		endpoint: string,
		{
			name,
			subscriptions
		}: { name: string; subscriptions: ReturnType<typeof resolveSubscriptions> }
	) {
		this.#name = name;
		this.#bus = new RealtimeBus({
			subscriptions: () => subscriptions,
			connect: (owner) => new HttpTransport(owner),
			settings: () => ({})
		});
		for (const id of subscriptions.keys()) {
			const state = this.#bus.state(id);
			this.#states.push(state);
			this.#runs.set(id, [[]]);
			state.frames.listen(({ event, data }) => {
				if (event === 'message') this.#hear(id, data.topic, data.data as number);
			});
			state.onResync(() => this.#gap(id));
		}
		this.#bus.update({
			endpoint,
			enabled: true,
			reconnect: { minDelayMs: 20, maxDelayMs: 300 },
			pauseOnHidden: false,
			subscriptions
		});
	}

	get isConnected(): boolean {
		return this.#states.every(({ health }) => health.ok);
	}

	/** Messages of all channels. */
	get heard(): number {
		return [...this.#runs.values()].flat(2).length;
	}

	last(id: string, topic: string): number {
		return this.#last.get(`${id}/${topic}`) ?? 0;
	}

	/** @returns messages of a channel that this page and another one heard in opposite order. */
	inversions(id: string, other: Witness): string[] {
		const places = new Map<string, { run: number; place: number }>();
		for (const [run, messages] of other.#runs.get(id)!.entries()) {
			for (const [place, message] of messages.entries()) places.set(message, { run, place });
		}
		const found: string[] = [];
		for (const messages of this.#runs.get(id)!) {
			/** By run of the other page: what both heard last in these two runs. */
			const before = new Map<number, { message: string; place: number }>();
			for (const message of messages) {
				const there = places.get(message);
				if (!there) continue;
				const last = before.get(there.run);
				if (last && there.place < last.place) {
					found.push(
						`${id}: ${this.#name} heard ${last.message}, ${message}; ${other.#name} the reverse`
					);
				}
				before.set(there.run, { message, place: there.place });
			}
		}
		return found;
	}

	close(): void {
		this.#bus.close();
	}

	#gap(id: string): void {
		this.resyncs++;
		const runs = this.#runs.get(id)!;
		if (runs.at(-1)!.length > 0) runs.push([]);
		this.#gaps.set(id, (this.#gaps.get(id) ?? 0) + 1);
	}

	#hear(id: string, topic: string, n: number): void {
		const key = `${id}/${topic}`;
		const last = this.#last.get(key) ?? 0;
		const gaps = this.#gaps.get(id) ?? 0;
		if (n <= last) {
			// What was announced as missing may still come, once, from a process that was held up.
			if (this.#missing.delete(`${key} ${n}`)) this.late++;
			else this.faults.push(`${this.#name} ${key}: ${n} after ${last}`);
		} else {
			if (n !== last + 1 && gaps === (this.#gapsBefore.get(key) ?? 0)) {
				this.faults.push(`${this.#name} ${key}: ${n} after ${last} with no gap announced`);
			}
			for (let i = last + 1; i < n; i++) this.#missing.add(`${key} ${i}`);
			this.#last.set(key, n);
		}
		this.#gapsBefore.set(key, gaps);
		this.#runs.get(id)!.at(-1)!.push(`${topic} ${n}`);
	}
}
