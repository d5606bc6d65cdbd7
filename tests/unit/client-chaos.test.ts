import { channel, topic } from '@inngest/realtime';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ChannelState } from '../../src/lib/client/channel.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import type { RealtimeSubscription } from '../../src/lib/client/types.js';
import { demo } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';
import { ModelServer } from '../support/client/model.js';

/** Reproduces a run: `CLIENT_CHAOS_SEED=123 npx vitest run tests/unit/client-chaos.test.ts`. */
const SEEDS = process.env.CLIENT_CHAOS_SEED
	? [Number(process.env.CLIENT_CHAOS_SEED)]
	: Array.from({ length: Number(process.env.CLIENT_CHAOS_RUNS ?? 10) }, (_, index) => index + 1);
const STEPS = 1_500;
const TOPICS = ['count', 'message'] as const;
const team = channel('team')
	.addTopic(topic('count').type<number>())
	.addTopic(topic('message').type<number>());

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => {
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

/** Random numbers that a seed determines (mulberry32). */
function generator(seed: number): () => number {
	return () => {
		seed = (seed + 0x6d2b79f5) | 0;
		let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

/** Checks one topic that counts: no number twice, none out of order, none missing without a resync. */
class Counter {
	readonly what: string;
	last: number | undefined;
	excused = false;
	received = 0;

	constructor(what: string) {
		this.what = what;
	}

	take(n: number): string | undefined {
		const { last, excused } = this;
		this.received++;
		this.last = n;
		this.excused = false;
		if (last === undefined || n === last + 1) return;
		if (n <= last) return `${this.what}: ${n} came after ${last}`;
		if (!excused) return `${this.what}: ${last + 1} to ${n - 1} are missing`;
	}
}

test.each(SEEDS)(
	'no silent loss, no repeat, no reorder, whatever breaks (seed %i)',
	async (seed) => {
		const random = generator(seed);
		vi.spyOn(Math, 'random').mockImplementation(random);
		const chance = (probability: number) => random() < probability;
		const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];

		const server = new ModelServer(60);
		const client = new Client({ pauseOnHidden: 3000 }, server.endpoint);
		const counters = new Map<string, Counter>();
		const problems: string[] = [];
		const counter = (channel: string, topic: string): Counter => {
			const key = `${channel}/${topic}`;
			let one = counters.get(key);
			if (!one) counters.set(key, (one = new Counter(key)));
			return one;
		};

		let answering = true;
		let enabled = true;
		server.endpoint.onRequest = (stream) => {
			const delay = random() * (chance(0.1) ? 5000 : 1200);
			setTimeout(() => {
				if (!answering || chance(0.1)) {
					const failures = [
						() => stream.fail(),
						() => stream.refuse(503, 'Down', chance(0.3) ? { 'retry-after': '2' } : {}),
						() => stream.refuse(429, 'Too many')
					];
					pick(failures)?.();
				} else server.accept(stream);
			}, delay);
		};

		// `count` of demo is always subscribed; the rest comes and goes.
		const states = new Map<string, ChannelState>();
		const watch = (channelId: string): void => {
			// As a hook does, this holds on to the state of a channel that is left and comes back.
			const known = states.get(channelId);
			const state = client.bus.state(channelId, known);
			if (known) return;
			states.set(channelId, state);
			state.frames.listen(({ event, data }) => {
				if (event === 'resync') {
					for (const topicName of TOPICS) counter(channelId, topicName).excused = true;
				} else if (event === 'message') {
					const problem = counter(channelId, data.topic).take(data.data as number);
					if (problem) problems.push(problem);
				}
			});
		};
		let wanted = new Set<string>();
		const change = async (): Promise<void> => {
			const topics = (): (typeof TOPICS)[number][] => (chance(0.5) ? [...TOPICS] : ['count']);
			const subscriptions: RealtimeSubscription[] = [{ channel: demo, topics: topics() }];
			if (chance(0.6)) subscriptions.push({ channel: team, topics: topics() });
			const before = wanted;
			wanted = new Set();
			for (const { channelId, topics } of resolveSubscriptions(subscriptions).values()) {
				for (const topicName of topics) {
					const key = `${channelId}/${topicName}`;
					wanted.add(key);
					// What was not subscribed a moment ago owes nothing of what went by meanwhile.
					if (!before.has(key)) counter(channelId, topicName).excused = true;
				}
				watch(channelId);
			}
			await client.subscribe(...subscriptions);
		};
		await change();

		for (let step = 0; step < STEPS; step++) {
			for (let n = Math.floor(random() * 4); n > 0; n--) {
				server.log('demo').publish(chance(0.7) ? 'count' : 'message');
				if (chance(0.5)) server.log('team').publish(chance(0.7) ? 'count' : 'message');
			}
			if (chance(0.7)) for (const log of server.logs) log.replay(chance(0.5) ? 2 : Infinity);
			const stream = pick(server.endpoint.open);
			if (chance(0.02) && stream) {
				server.detach(stream);
				stream.fail();
			}
			if (chance(0.02) && stream) {
				server.detach(stream);
				try {
					stream.end();
				} catch {
					// It had ended already.
				}
			}
			if (chance(0.01) && stream) server.detach(stream); // falls silent
			const log = pick(server.logs);
			const reader = pick(log?.readers ?? []);
			if (chance(0.02) && reader) log!.degrade(reader);
			if (chance(0.003)) {
				for (const open of server.endpoint.open) open.fail();
				server.restart();
			}
			if (chance(0.01)) server.log('demo').publish('count', true);
			if (chance(answering ? 0.01 : 0.1)) answering = !answering;
			if (chance(0.1)) for (const log of server.logs) log.tick();
			if (chance(0.1)) await change();
			const hidden = client.page.visibilityState === 'hidden';
			if (chance(hidden ? 0.1 : 0.01)) client.page.show(hidden);
			if (chance(0.02)) client.page.tell('online');
			if (chance(0.005)) client.page.tell('pagehide');
			if (chance(0.05)) client.page.tell('pageshow');
			if (chance(0.005)) client.bus.reconnect();
			if (chance(0.005)) client.bus.finish('team', 'Over.');
			if (chance(enabled ? 0.005 : 0.2)) await client.set({ enabled: (enabled = !enabled) });
			await settle(random() * 200);
		}

		// Everything heals; what was published last must come.
		answering = true;
		client.page.tell('pageshow');
		client.page.show(true);
		await client.set({ enabled: true });
		client.bus.reconnect();
		for (let i = 0; i < 20; i++) {
			await settle(5000);
			for (const log of server.logs) log.replay();
			for (const log of server.logs) log.tick();
		}
		server.log('demo').publish('count');
		await settle();

		expect(problems).toEqual([]);
		const count = counter('demo', 'count');
		expect(count.last).toBe(server.log('demo').counter('count'));
		expect(count.received).toBeGreaterThan(STEPS / 4);
		expect(client.health('demo').status).toBe('connected');
		expect(server.endpoint.open).toHaveLength(1);
		client.bus.close();
		expect(server.endpoint.open).toHaveLength(0);
	}
);
