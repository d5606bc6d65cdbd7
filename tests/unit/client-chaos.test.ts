import { channel, topic } from '@inngest/realtime';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ChannelState } from '../../src/lib/client/state/channel.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import type { RealtimeSubscription } from '../../src/lib/client/types.js';
import type { SubscriptionRequest } from '../../src/lib/protocol/request.js';
import { Client, settle } from '../support/client/client.js';
import type { FakeStream } from '../support/client/endpoint.js';
import { ModelServer } from '../support/client/model.js';
import { seeded } from '../support/random.js';

/** `CLIENT_CHAOS_SEED=123` repeats a run, `CLIENT_CHAOS_RUNS=300` makes more of them. */
const SEEDS = process.env.CLIENT_CHAOS_SEED
	? [Number(process.env.CLIENT_CHAOS_SEED)]
	: Array.from({ length: Number(process.env.CLIENT_CHAOS_RUNS ?? 10) }, (_, index) => index + 1);
const STEPS = 1_500;
const TOPICS = ['count', 'message'] as const;
const FORBIDDEN = 'forbidden';

const counting = (name: string) =>
	channel(name).addTopic(topic('count').type<number>()).addTopic(topic('message').type<number>());
const demo = counting('demo');
const team = counting('team');

beforeEach(() => {
	vi.useFakeTimers({ now: 0 });
	vi.spyOn(console, 'error').mockImplementation(() => {});
});
afterEach(() => {
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

/** Checks one topic that counts: no number twice, none out of order, none missing without a resync. */
class Counter {
	readonly what: string;
	last: number | undefined;
	excused = false;

	constructor(what: string) {
		this.what = what;
	}

	take(n: number): string | undefined {
		const { last, excused } = this;
		this.last = n;
		this.excused = false;
		if (last === undefined || n === last + 1) return;
		if (n <= last) return `${this.what}: ${n} came after ${last}`;
		if (!excused) return `${this.what}: ${last + 1} to ${n - 1} are missing`;
	}
}

/** A page, its server, and everything that may happen to either. */
class World {
	readonly server = new ModelServer(60);
	readonly client = new Client({ pauseOnHidden: 3_000 }, this.server.endpoint);
	readonly problems: string[] = [];
	received = 0;
	readonly #random: () => number;
	readonly #counters = new Map<string, Counter>();
	readonly #states = new Map<string, ChannelState>();
	readonly #requests: number[] = [];
	/** Streams that have an answer and have not ended. */
	readonly #open = new Set<FakeStream>();
	/** Topics that are subscribed. */
	#wanted = new Set<string>();
	#isAnswering = true;
	#isEnabled = true;
	#isCalm = false;
	#isReentering = false;

	constructor(random: () => number) {
		this.#random = random;
		this.server.endpoint.onRequest = (stream) => this.#answer(stream);
		this.client.give({ onFailure: () => this.#reenter(), onResync: () => this.#reenter() });
		this.change();
	}

	/** Subscribes to some topics, with some parameters, chosen anew. */
	change(allowed = false): void {
		const some = (): Pick<RealtimeSubscription, 'topics' | 'params'> => ({
			topics: this.#chance(0.5) ? [...TOPICS] : ['count'],
			...(this.#chance(0.5) && {
				params: { scope: this.#pick(allowed ? ['a', 'b'] : ['a', 'b', FORBIDDEN]) }
			})
		});
		const subscriptions: RealtimeSubscription[] = [{ channel: demo, ...some() }];
		if (this.#chance(0.6)) subscriptions.push({ channel: team, ...some() });
		const before = this.#wanted;
		this.#wanted = new Set();
		for (const { channelId, topics } of resolveSubscriptions(subscriptions).values()) {
			for (const topicName of topics) {
				const key = `${channelId}/${topicName}`;
				this.#wanted.add(key);
				// What was not subscribed a moment ago owes nothing of what went by meanwhile.
				if (!before.has(key)) this.#counter(key).excused = true;
			}
			this.#watch(channelId);
		}
		this.client.change(...subscriptions);
	}

	async step(): Promise<void> {
		const { server, client } = this;
		for (let n = Math.floor(this.#random() * 4); n > 0; n--) {
			server.log('demo').publish(this.#chance(0.7) ? 'count' : 'message');
			if (this.#chance(0.5)) server.log('team').publish(this.#chance(0.7) ? 'count' : 'message');
		}
		if (this.#chance(0.7)) for (const log of server.logs) log.replay(this.#pick([2, Infinity]));
		if (this.#chance(0.1)) for (const log of server.logs) log.tick();
		const log = server.log(this.#pick(['demo', 'team']));
		const stream = this.#pick([...this.#open]);
		const isHidden = client.page.visibilityState === 'hidden';
		const events: [probability: number, happen: () => unknown][] = [
			[0.1, () => this.change()],
			[0.02, () => this.#drop(stream) && stream.fail()],
			[0.02, () => this.#drop(stream) && stream.end()],
			// It falls silent.
			[0.01, () => stream && server.detach(stream)],
			[0.02, () => log.degrade(this.#pick(log.readers), false)],
			[0.004, () => log.degrade(this.#pick(log.readers), true)],
			[0.01, () => log.lose()],
			[0.005, () => server.logs.forEach((one) => one.roll())],
			[0.003, () => this.#restart()],
			[this.#isAnswering ? 0.01 : 0.1, () => (this.#isAnswering = !this.#isAnswering)],
			[isHidden ? 0.1 : 0.01, () => client.page.show(isHidden)],
			[0.02, () => client.page.tell('online')],
			[0.005, () => client.page.tell('pagehide')],
			[0.05, () => client.page.tell('pageshow')],
			[0.005, () => client.bus.reconnect()],
			[0.005, () => client.bus.finish('team', 'Over.')],
			[this.#isEnabled ? 0.005 : 0.2, () => this.#enable(!this.#isEnabled)],
			[0.005, () => client.give({ reconnect: this.#pick([{}, {}, {}, false]) })],
			[0.01, () => client.give({ pauseOnHidden: this.#pick([false, 0, 1_000, 5_000]) })],
			[0.01, () => client.give({ endpoint: this.#pick(['/a', '/b', '/wrong']) })]
		];
		for (const [probability, happen] of events) if (this.#chance(probability)) happen();
		await settle(this.#random() * 200);
		this.#checkHealth();
	}

	/** Lets everything heal. */
	async calm(): Promise<void> {
		const { server, client } = this;
		this.#isCalm = true;
		this.#isAnswering = true;
		client.page.tell('pageshow');
		client.page.show(true);
		client.give({ reconnect: {}, endpoint: '/a' });
		this.#enable(true);
		this.change(true);
		client.bus.reconnect();
		for (let seconds = 0; seconds < 100; seconds += 5) {
			await settle(5_000);
			for (const log of server.logs) log.replay();
			for (const log of server.logs) log.tick();
		}
	}

	#chance(probability: number): boolean {
		return this.#random() < probability;
	}

	#pick<T>(list: readonly T[]): T {
		return list[Math.floor(this.#random() * list.length)]!;
	}

	#counter(key: string): Counter {
		let one = this.#counters.get(key);
		if (!one) this.#counters.set(key, (one = new Counter(key)));
		return one;
	}

	#watch(channelId: string): void {
		const known = this.#states.get(channelId);
		// As a hook does, this holds on to the state of a channel that is left and comes back.
		const state = this.client.bus.state(channelId, known);
		if (known) return;
		this.#states.set(channelId, state);
		state.frames.listen(({ event, data }) => {
			if (event === 'resync') {
				for (const topicName of TOPICS) this.#counter(`${channelId}/${topicName}`).excused = true;
			} else if (event === 'message') {
				this.received++;
				const problem = this.#counter(`${channelId}/${data.topic}`).take(data.data as number);
				if (problem) this.problems.push(problem);
			}
			this.#reenter();
		});
	}

	/** A handler that acts on the connection that calls it. */
	#reenter(): void {
		if (this.#isReentering || this.#isCalm || !this.#chance(0.004)) return;
		const { client } = this;
		this.#isReentering = true;
		this.#pick([
			() => client.bus.reconnect(),
			() => client.bus.finish('team', 'Over.'),
			() => this.change(),
			() => (this.#enable(false), this.#enable(true)),
			() => (client.page.tell('pagehide'), client.page.tell('pageshow'))
		])();
		this.#isReentering = false;
	}

	#answer(stream: FakeStream): void {
		const { endpoint } = this.server;
		this.#requests.push(Date.now());
		if (this.#requests.filter((at) => at > Date.now() - 10_000).length > 80) {
			this.problems.push('There is a loop of requests.');
		}
		if (endpoint.open.length > 2) this.problems.push('More than two streams are open.');
		setTimeout(
			() => {
				if (stream.aborted) return;
				const [only, another] = stream.subscriptions;
				if (stream.url === '/wrong') stream.refuse(404, 'Not found');
				else if (!this.#isAnswering || (!this.#isCalm && this.#chance(0.1))) {
					this.#pick([
						() => stream.fail(),
						() => stream.refuse(503, 'Down', this.#chance(0.3) ? { 'retry-after': '2' } : {}),
						() => stream.refuse(429, 'Too many')
					])();
				} else if (!another && isForbidden(only!)) stream.refuse(403, 'Denied');
				else this.#accept(stream);
			},
			this.#random() * (this.#chance(0.1) ? 5_000 : 1_200)
		);
	}

	#accept(stream: FakeStream): void {
		this.#open.add(stream.open());
		if (this.#chance(0.1)) stream.write(`retry: ${this.#pick([0, 100, 3_000])}\n\n`);
		for (const subscription of stream.subscriptions) {
			const start = (): void => {
				if (stream.aborted || !this.#open.has(stream)) return;
				if (!isForbidden(subscription)) this.server.start(stream, subscription);
				else stream.health(subscription.channel, 'degraded', { code: 403, fatal: true });
			};
			// It is authorized, which may take a while.
			if (this.#chance(0.2)) setTimeout(start, this.#random() * 4_000);
			else start();
		}
	}

	#enable(enabled: boolean): void {
		this.#isEnabled = enabled;
		this.client.give({ enabled });
	}

	/** Takes a stream out of service. @returns whether its client still reads it. */
	#drop(stream: FakeStream): boolean {
		this.server.detach(stream);
		return this.#open.delete(stream) && !stream.aborted;
	}

	#restart(): void {
		for (const stream of [...this.#open]) if (this.#drop(stream)) stream.fail();
		this.server.restart();
	}

	/** What shows as connected has an open stream. */
	#checkHealth(): void {
		for (const stream of this.#open) if (stream.aborted) this.#open.delete(stream);
		for (const { channelId } of this.client.bus.subscriptions) {
			if (this.client.health(channelId).status !== 'connected') continue;
			const isCarried = [...this.#open].some(({ subscriptions }) =>
				subscriptions.some((subscription) => subscription.channel === channelId)
			);
			if (!isCarried) this.problems.push(`${channelId} shows as connected without a stream.`);
		}
	}
}

function isForbidden({ params }: SubscriptionRequest): boolean {
	return params?.scope === FORBIDDEN;
}

test.each(SEEDS)(
	'no silent loss, no repeat, no reorder, no loop, true health, whatever breaks (seed %i)',
	async (seed) => {
		const random = seeded(seed);
		vi.spyOn(Math, 'random').mockImplementation(random);
		const world = new World(random);
		const { client, server, problems } = world;
		for (let step = 0; step < STEPS && problems.length === 0; step++) await world.step();
		await world.calm();
		// What is published last must come.
		server.log('demo').publish('count');
		let last: unknown;
		client.state('demo').frames.listen(({ event, data }) => {
			if (event === 'message') last = data.data;
		});
		server.log('demo').publish('count');
		await settle();
		expect(problems).toEqual([]);
		expect(last).toBe(server.log('demo').counter('count'));
		expect(world.received).toBeGreaterThan(0);
		for (const { channelId } of client.bus.subscriptions) {
			expect(client.health(channelId).status).toBe('connected');
		}
		expect(server.endpoint.open).toHaveLength(1);
		client.bus.close();
		expect(server.endpoint.open).toHaveLength(0);
	}
);
