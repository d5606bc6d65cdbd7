import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import type { ChannelState } from '../../src/lib/client/state/channel.js';
import type { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import { HttpTransport } from '../../src/lib/client/transport/http.js';

/** A message, by its topic and number, or an announcement that messages may be missing. */
type Heard = { topic: string; n: number } | 'gap';

const isMessage = (heard: Heard): heard is { topic: string; n: number } => heard !== 'gap';

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
			state.onResync(() => heard.push('gap'));
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
	 * A message may be missing if a gap was announced in its place: after all older messages of its topic
	 * that came before, and before the first newer one.
	 *
	 * @returns messages that did not come, with no gap announced.
	 */
	losses(): string[] {
		return this.#topics().flatMap(({ id, topic, numbers }) => {
			const came = new Set(numbers);
			const missing = Array.from({ length: Math.max(...numbers) }, (_, index) => index + 1).filter(
				(n) => !came.has(n)
			);
			return missing
				.filter((n) => !this.#placeOf(id, topic, n).includes('gap'))
				.map((n) => `${this.#name} missed ${id} ${topic} ${n}: ${this.#around(id, topic, n)}`);
		});
	}

	#around(id: string, topic: string, n: number): string {
		const heard = this.#heard.get(id)!;
		const newer = heard.findIndex((one) => isMessage(one) && one.topic === topic && one.n > n);
		return heard
			.slice(Math.max(0, newer - 14), newer + 14)
			.map((one) => (isMessage(one) ? `${one.topic[0]}${one.n}` : one))
			.join(' ');
	}

	/** What was heard of a channel where a missing message should have come. */
	#placeOf(id: string, topic: string, n: number): Heard[] {
		const heard = this.#heard.get(id)!;
		const isOfTopic = (one: Heard): one is { topic: string; n: number } =>
			isMessage(one) && one.topic === topic;
		const newer = heard.findIndex((one) => isOfTopic(one) && one.n > n);
		const before = newer < 0 ? heard : heard.slice(0, newer);
		return before.slice(before.findLastIndex(isOfTopic) + 1);
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
