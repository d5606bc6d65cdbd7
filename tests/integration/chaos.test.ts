import { channel, topic } from '@inngest/realtime';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import { HttpTransport } from '../../src/lib/client/transport/http.js';
import type { ChannelState } from '../../src/lib/client/state/channel.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import type { RealtimeSubscription } from '../../src/lib/client/types.js';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { FakePage } from '../support/client/page.js';
import { seeded } from '../support/random.js';
import { RemoteStore } from '../support/store.js';
import { serve, type TestServer } from '../support/server.js';
import { inngestAt } from '../support/world.js';

/** `CHAOS_SECONDS=300 CHAOS_SEED=7 npx vitest run --project integration chaos` replays a long run. */
const SECONDS = Number(process.env.CHAOS_SECONDS ?? 12);
const SEED = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000);
const CLIENTS = 6;
const CHANNELS = ['alpha', 'beta', 'gamma'];
const TOPICS = ['a', 'b'];

const roomChannel = channel((name: string) => `room:${name}`)
	.addTopic(topic('a').type<number>())
	.addTopic(topic('b').type<number>());

const random = seeded(SEED);
const chance = (share: number): boolean => random() < share;
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Delays that end in the order in which they began. */
function delayInOrder(): () => Promise<unknown> {
	let last: Promise<unknown> = Promise.resolve();
	return () => (last = Promise.all([last, wait(random() * 3)]));
}

/**
 * The engine and the app's server, both killed and started again on their ports; the server with a store
 * that answers at once or later, and with a check of every message or none.
 */
class World {
	engine!: InngestDev;
	server!: TestServer;
	#realtime!: Realtime;

	async start(): Promise<void> {
		this.engine = await startInngestDev();
		await this.startServer();
	}
	async startServer(port = 0): Promise<void> {
		this.#realtime = createRealtime({
			inngest: inngestAt(this.engine.url),
			channels: {
				room: {
					channel: roomChannel,
					channelParams: (_event, id) => id.slice('room:'.length),
					authorize: async () => {
						await wait(random() * 5);
						return true;
					}
				}
			},
			...(chance(0.5) && { replay: new RemoteStore(delayInOrder()) }),
			reauthorizeOnEachMessage: chance(0.5),
			healthCheck: { intervalMs: 200 },
			limits: { maxLifetimeMs: 3_000 },
			onFailure: () => {}
		});
		this.server = await serve(this.#realtime, { port });
	}
	async restartServer(): Promise<void> {
		const port = Number(new URL(this.server.url).port);
		const { server } = this;
		const realtime = this.#realtime;
		await server.close();
		realtime.close();
		await this.startServer(port);
	}
	async restartEngine(): Promise<void> {
		const { port } = this.engine;
		await this.engine.close();
		this.engine = await startInngestDev({ port });
	}
	async close(): Promise<void> {
		await this.server.close();
		this.#realtime.close();
		await this.engine.close();
	}
}

/** A page that counts: what it heard of each topic, and whether a gap was announced. */
class Witness {
	readonly faults: string[] = [];
	heard = 0;
	resyncs = 0;
	readonly #last = new Map<string, number>();
	/** Topics of which the next message may be any: new ones, and those with an announced gap. */
	readonly #open = new Set<string>();
	readonly #active = new Map<string, Set<string>>();
	readonly #bus: RealtimeBus;
	#subscriptions = resolveSubscriptions([]);
	readonly #states = new Map<string, ChannelState>();

	constructor(readonly endpoint: string) {
		this.#bus = new RealtimeBus({
			subscriptions: () => this.#subscriptions,
			connect: (owner) => new HttpTransport(owner),
			settings: () => ({})
		});
		for (const name of CHANNELS) {
			const id = `room:${name}`;
			const state = this.#bus.state(id);
			this.#states.set(id, state);
			state.frames.listen(({ event, data }) => {
				if (event === 'message') this.#hear(id, data.topic, data.data as number);
			});
			state.onResync(() => {
				this.resyncs++;
				for (const topicName of TOPICS) this.#open.add(`${id}/${topicName}`);
			});
		}
		this.change();
	}

	/** Subscribes to some channels and topics, chosen anew. */
	change(): void {
		const chosen = CHANNELS.filter(() => chance(0.8));
		const wanted = new Map(
			(chosen.length > 0 ? chosen : [pick(CHANNELS)]).map((name) => [
				name,
				chance(0.7) ? TOPICS : [pick(TOPICS)]
			])
		);
		for (const name of CHANNELS) {
			const before = this.#active.get(name) ?? new Set();
			const after = new Set(wanted.get(name) ?? []);
			for (const topicName of after) {
				// A topic that was not read a moment ago owes nothing of what went by meanwhile.
				if (!before.has(topicName)) this.#open.add(`room:${name}/${topicName}`);
			}
			this.#active.set(name, after);
		}
		const subscriptions = [...wanted].map(([name, topics]): RealtimeSubscription => ({
			channel: roomChannel,
			channelParams: name,
			topics: topics as ('a' | 'b')[]
		}));
		this.#subscriptions = resolveSubscriptions(subscriptions);
		// As a hook does, this holds on to the state of a channel that is left and comes back.
		for (const id of this.#subscriptions.keys()) this.#bus.state(id, this.#states.get(id));
		this.#bus.update({
			endpoint: this.endpoint,
			enabled: true,
			reconnect: { minDelayMs: 20, maxDelayMs: 300 },
			pauseOnHidden: false,
			subscriptions: this.#subscriptions
		});
	}

	get active(): [channel: string, topics: ReadonlySet<string>][] {
		return [...this.#active].filter(([, topics]) => topics.size > 0);
	}

	get isConnected(): boolean {
		return this.active.every(([name]) => this.#bus.state(`room:${name}`).health.ok);
	}

	last(name: string, topicName: string): number {
		return this.#last.get(`room:${name}/${topicName}`) ?? 0;
	}

	describe(): string {
		return JSON.stringify(this.active.map(([name]) => this.#bus.state(`room:${name}`).health));
	}

	close(): void {
		this.#bus.close();
	}

	#hear(id: string, topicName: string, n: number): void {
		const key = `${id}/${topicName}`;
		const last = this.#last.get(key) ?? 0;
		if (n <= last) this.faults.push(`${key}: ${n} after ${last}`);
		else if (n !== last + 1 && !this.#open.has(key)) {
			this.faults.push(`${key}: ${n} after ${last} with no gap announced`);
		}
		this.#open.delete(key);
		this.#last.set(key, n);
		this.heard++;
	}
}

const world = new World();
const witnesses: Witness[] = [];
let publisher: ReturnType<typeof setInterval> | undefined;

beforeEach(() => {
	const page = new FakePage();
	vi.stubGlobal('window', page.window);
	vi.stubGlobal('document', page.document);
});
afterEach(async () => {
	vi.unstubAllGlobals();
	clearInterval(publisher);
	for (const witness of witnesses) witness.close();
	await world.close();
});

test(
	`no gap that was not announced, no repeat, no reorder, whatever fails (CHAOS_SEED=${SEED})`,
	async () => {
		await world.start();
		const counts = new Map<string, number>();
		const publish = (name: string, topicName: string): void => {
			const key = `${name}/${topicName}`;
			const n = (counts.get(key) ?? 0) + 1;
			counts.set(key, n);
			// While the engine is down nothing takes it: a number that is gone must be announced as well.
			world.engine.publish({ channel: `room:${name}`, topic: topicName, data: n });
		};
		publisher = setInterval(() => {
			for (let burst = 0; burst < 4; burst++) publish(pick(CHANNELS), pick(TOPICS));
		}, 5);
		for (let index = 0; index < CLIENTS; index++) witnesses.push(new Witness(world.server.url));

		const faults: Record<string, () => unknown> = {
			cutStreams: () => world.server.server.closeAllConnections(),
			cutUpstream: () => world.engine.dropSockets(),
			announceClosing: () => world.engine.announceClosing(400),
			changeSubscriptions: () => pick(witnesses).change(),
			changeRapidly: () => {
				const witness = pick(witnesses);
				for (let times = 0; times < 5; times++) witness.change();
			},
			failTokens: async () => {
				world.engine.failTokens(500);
				world.engine.dropSockets();
				await wait(150);
				world.engine.failTokens(null);
			},
			restartServer: () => world.restartServer(),
			restartEngine: () => world.restartEngine()
		};
		const done: Record<string, number> = {};
		const endAt = Date.now() + SECONDS * 1_000;
		while (Date.now() < endAt) {
			await wait(20 + random() * 250);
			const name = chance(0.5) ? 'changeSubscriptions' : pick(Object.keys(faults));
			done[name] = (done[name] ?? 0) + 1;
			await faults[name]!();
			expect(witnesses.flatMap(({ faults }) => faults)).toEqual([]);
		}

		await expect
			.poll(() => witnesses.every(({ isConnected }) => isConnected), {
				timeout: 40_000,
				message: witnesses.map((witness) => witness.describe()).join('\n')
			})
			.toBe(true);
		clearInterval(publisher);
		// A last message of each topic proves that everybody is on every topic, and up to date. One that
		// falls into a gap is announced as lost, so that another follows.
		const publishLast = (): void => {
			for (const name of CHANNELS) for (const topicName of TOPICS) publish(name, topicName);
		};
		const isUpToDate = (witness: Witness): boolean =>
			witness.active.every(([name, topics]) =>
				[...topics].every(
					(topicName) => witness.last(name, topicName) === counts.get(`${name}/${topicName}`)
				)
			);
		for (
			let attempt = 0;
			attempt < 60 && !(attempt > 0 && witnesses.every(isUpToDate));
			attempt++
		) {
			publishLast();
			await wait(500);
		}
		expect(witnesses.every(isUpToDate)).toBe(true);
		expect(witnesses.flatMap(({ faults }) => faults)).toEqual([]);
		const sum = (read: (witness: Witness) => number): number =>
			witnesses.reduce((total, witness) => total + read(witness), 0);
		console.info(
			`chaos: ${SECONDS} s, seed ${SEED}, heard ${sum(({ heard }) => heard)}, resyncs ${sum(({ resyncs }) => resyncs)}, faults ${JSON.stringify(done)}`
		);
		const published = [...counts.values()].reduce((total, count) => total + count, 0);
		expect(sum(({ heard }) => heard)).toBeGreaterThan(published / 8);
	},
	(SECONDS + 60) * 1_000
);
