import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import type { ChannelState } from '../../src/lib/client/state/channel.js';
import type { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import { HttpTransport } from '../../src/lib/client/transport/http.js';

/** A message, by its topic and number, or an announcement that messages may be missing. */
type Heard = { topic: string; n: number } | { gapAtMs: number };

const isMessage = (heard: Heard): heard is { topic: string; n: number } => 'topic' in heard;

/** How late, in milliseconds, a gap may be announced: a backend that is away is given up on first. */
const MAX_LATE_MS = 20_000;

/**
 * A page that notes what it hears of topics whose messages are the numbers from 1 on, published once it is
 * connected.
 */
export class Witness {
	readonly #name: string;
	readonly #bus: RealtimeBus;
	readonly #states: ChannelState[] = [];
	/** By channel, in order. */
	readonly #heard = new Map<string, Heard[]>();

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
			const heard: Heard[] = [];
			this.#heard.set(id, heard);
			state.frames.listen(({ event, data }) => {
				if (event === 'message') heard.push({ topic: data.topic, n: data.data as number });
			});
			state.onResync(() => heard.push({ gapAtMs: performance.now() }));
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

	get heard(): number {
		return [...this.#heard.values()].flat().filter(isMessage).length;
	}

	get gaps(): number {
		return [...this.#heard.values()].flat().length - this.heard;
	}

	/** How many messages came after newer ones of their topic. */
	get late(): number {
		return this.#topics().reduce(
			(sum, { numbers }) =>
				sum + numbers.filter((n, index) => n < Math.max(0, ...numbers.slice(0, index))).length,
			0
		);
	}

	/** The newest number of a topic. */
	last(id: string, topic: string): number {
		const messages = this.#heard.get(id)!.filter(isMessage);
		return Math.max(0, ...messages.filter((one) => one.topic === topic).map(({ n }) => n));
	}

	/** @returns messages that came twice. */
	repeats(): string[] {
		return this.#topics().flatMap(({ id, topic, numbers }) => {
			const seen = new Set<number>();
			return numbers
				.filter((n) => seen.size === seen.add(n).size)
				.map((n) => `${this.#name} heard ${id} ${topic} ${n} twice`);
		});
	}

	/**
	 * A page that reloads its data when a gap is announced has what was published before. So a message may
	 * be missing if one was announced after its publication, soon.
	 *
	 * @param publishedAtMs When a message was published, by this process's own clock.
	 * @returns messages that did not come, with no gap announced.
	 */
	losses(publishedAtMs: (id: string, topic: string, n: number) => number): string[] {
		return this.#topics().flatMap(({ id, topic, numbers }) => {
			const gaps = this.#heard.get(id)!.flatMap((one) => (isMessage(one) ? [] : [one.gapAtMs]));
			const came = new Set(numbers);
			return Array.from({ length: Math.max(...numbers) }, (_, index) => index + 1)
				.filter((n) => !came.has(n))
				.filter((n) => {
					const afterMs = gaps.map((gapAtMs) => gapAtMs - publishedAtMs(id, topic, n));
					return !afterMs.some((ms) => ms >= 0 && ms < MAX_LATE_MS);
				})
				.map((n) => `${this.#name} missed ${id} ${topic} ${n}`);
		});
	}

	/** @returns messages of a channel that this page and another one heard in opposite order. */
	inversions(id: string, other: Witness): string[] {
		const places = new Map<string, { run: number; place: number }>();
		for (const [run, messages] of other.#runs(id).entries()) {
			for (const [place, message] of messages.entries()) places.set(message, { run, place });
		}
		const found: string[] = [];
		for (const messages of this.#runs(id)) {
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

	/** What it heard of each topic. */
	#topics(): { id: string; topic: string; numbers: number[] }[] {
		return [...this.#heard].flatMap(([id, all]) => {
			const messages = all.filter(isMessage);
			return [...new Set(messages.map(({ topic }) => topic))].map((topic) => ({
				id,
				topic,
				numbers: messages.filter((one) => one.topic === topic).map(({ n }) => n)
			}));
		});
	}

	/** What it heard of a channel between two gaps each. */
	#runs(id: string): string[][] {
		const runs: string[][] = [[]];
		for (const one of this.#heard.get(id)!) {
			if (isMessage(one)) runs.at(-1)!.push(`${one.topic} ${one.n}`);
			else runs.push([]);
		}
		return runs;
	}
}
