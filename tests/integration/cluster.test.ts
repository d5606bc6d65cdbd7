import { channel, topic } from '@inngest/realtime';
import { fork, type ChildProcess } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import type { ChannelState } from '../../src/lib/client/state/channel.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import { HttpTransport } from '../../src/lib/client/transport/http.js';
import { startInngestDev } from '../../src/lib/dev/index.js';
import { Balancer } from '../support/balancer.js';
import type { EmitAnswer, EmitRequest, MemberOptions } from '../support/child/cluster.js';
import { buildApp } from '../support/child/start.js';
import { FakePage } from '../support/client/page.js';
import { hasPostgres, PostgresServer } from '../support/postgres.js';
import { seeded } from '../support/random.js';
import { hasRedis, RedisServer } from '../support/redis.js';

/**
 * `CLUSTER_SECONDS=60 CLUSTER_SEED=7 npx vitest run --project integration cluster` is the long run. A
 * seed repeats the faults and their order; when they hit is up to the machine.
 */
const SECONDS = Number(process.env.CLUSTER_SECONDS ?? 10);
const SEED = Number(process.env.CLUSTER_SEED ?? Date.now() % 1_000_000);
const IS_LONG = SECONDS >= 60;
const CLIENTS = IS_LONG ? 60 : 9;
/** How long the backend is away, each time. */
const AWAY_MS = IS_LONG ? 5_000 : 1_500;
const PROCESSES = 3;
const PER_SECOND = 50;

const roomChannel = channel((name: string) => `room:${name}`)
	.addTopic(topic('published').type<number>())
	.addTopic(topic('emitted').type<number>());
const noteChannel = channel((name: string) => `note:${name}`).addTopic(
	topic('emitted').type<number>()
);
const SUBSCRIPTIONS = resolveSubscriptions([
	{ channel: roomChannel, channelParams: 'a', topics: ['published', 'emitted'] },
	{ channel: roomChannel, channelParams: 'b', topics: ['published', 'emitted'] },
	{ channel: noteChannel, channelParams: 'c', topics: ['emitted'] }
]);
const TOPICS: [channel: string, topic: 'published' | 'emitted'][] = [
	['room:a', 'published'],
	['room:a', 'emitted'],
	['room:b', 'published'],
	['room:b', 'emitted'],
	['note:c', 'emitted']
];

const random = seeded(SEED);
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;

/** A server that the processes share. */
interface SharedServer {
	options: Pick<MemberOptions, 'redisUrl' | 'postgresUrl'>;
	stop(): Promise<void>;
	start(): Promise<void>;
	/** It accepts connections and never answers. */
	freeze(): void | Promise<void>;
	thaw(): void | Promise<void>;
	close(): Promise<void>;
}

/** A process of the app, which may be killed and started again. */
class Member {
	readonly #start: () => ChildProcess;
	readonly #balancer: Balancer;
	readonly #asked = new Map<number, (answer: EmitAnswer) => void>();
	#process: ChildProcess | undefined;
	#port = 0;
	#questions = 0;

	constructor(start: () => ChildProcess, balancer: Balancer) {
		this.#start = start;
		this.#balancer = balancer;
	}

	async start(): Promise<void> {
		const child = this.#start();
		const url = await new Promise<string>((resolve, reject) => {
			child.once('message', (message) => resolve((message as { url: string }).url));
			child.once('exit', (code) => reject(new Error(`A process ended with ${code} at its start.`)));
		});
		child.on('message', (message) => {
			const answer = message as EmitAnswer;
			this.#asked.get(answer.id)?.(answer);
		});
		this.#process = child;
		this.#port = Number(new URL(url).port);
		this.#balancer.add(this.#port);
	}

	/** Ends it as a crash does. */
	async kill(): Promise<void> {
		const child = this.#process;
		if (!child) return;
		this.#process = undefined;
		this.#balancer.remove(this.#port);
		const gone = new Promise((resolve) => child.once('exit', resolve));
		child.kill('SIGKILL');
		await gone;
		for (const [id, answer] of this.#asked) answer({ id, error: 'The process was killed.' });
	}

	/** @throws when it fails, and when the process is killed meanwhile. */
	async emit(channel: string, n: number): Promise<void> {
		const child = this.#process;
		if (!child) throw new Error('The process is not running.');
		const id = ++this.#questions;
		const { error } = await new Promise<EmitAnswer>((resolve) => {
			this.#asked.set(id, resolve);
			child.send({ id, channel, n } satisfies EmitRequest, () => {});
		});
		this.#asked.delete(id);
		if (error) throw new Error(error);
	}
}

/** A message, and how many gaps were announced before it. */
interface Heard {
	message: string;
	gaps: number;
}

/** A page that notes what it heard, and whether a gap was announced. */
class Witness {
	readonly faults: string[] = [];
	/** What it heard on each channel, in order. */
	readonly heard = new Map<string, Heard[]>();
	/** What came after it was announced as missing. */
	readonly late = new Set<string>();
	resyncs = 0;
	readonly #missing = new Set<string>();
	readonly #name: string;
	readonly #last = new Map<string, number>();
	/** Topics of which the next message may be any: new ones, and those with an announced gap. */
	readonly #open = new Set(TOPICS.map((each) => each.join('/')));
	readonly #bus: RealtimeBus;
	readonly #states: ChannelState[] = [];

	constructor(endpoint: string, name: string) {
		this.#name = name;
		this.#bus = new RealtimeBus({
			subscriptions: () => SUBSCRIPTIONS,
			connect: (owner) => new HttpTransport(owner),
			settings: () => ({})
		});
		for (const id of SUBSCRIPTIONS.keys()) {
			this.heard.set(id, []);
			const state = this.#bus.state(id);
			this.#states.push(state);
			state.frames.listen(({ event, data }) => {
				if (event === 'message') this.#hear(id, data.topic, data.data as number);
			});
			state.onResync(() => {
				this.resyncs++;
				for (const each of TOPICS) if (each[0] === id) this.#open.add(each.join('/'));
			});
		}
		this.#bus.update({
			endpoint,
			enabled: true,
			reconnect: { minDelayMs: 20, maxDelayMs: 300 },
			pauseOnHidden: false,
			subscriptions: SUBSCRIPTIONS
		});
	}

	get isConnected(): boolean {
		return this.#states.every(({ health }) => health.ok);
	}

	last(id: string, topicName: string): number {
		return this.#last.get(`${id}/${topicName}`) ?? 0;
	}

	close(): void {
		this.#bus.close();
	}

	#hear(id: string, topicName: string, n: number): void {
		const key = `${id}/${topicName}`;
		const last = this.#last.get(key) ?? 0;
		const message = `${topicName} ${n}`;
		if (n <= last) {
			// What was announced as missing may still come, once, from a process that was held up.
			if (this.#missing.delete(`${key} ${n}`)) this.late.add(`${id} ${message}`);
			else this.faults.push(`${this.#name} ${key}: ${n} after ${last}`);
			return;
		}
		if (n !== last + 1 && !this.#open.has(key)) {
			this.faults.push(`${this.#name} ${key}: ${n} after ${last} with no gap announced`);
		}
		for (let missing = last + 1; missing < n; missing++) this.#missing.add(`${key} ${missing}`);
		this.#open.delete(key);
		this.#last.set(key, n);
		this.heard.get(id)!.push({ message, gaps: this.resyncs });
	}
}

/** Finds messages that two readers heard in opposite order, with no gap announced in between. */
function inversions(one: readonly Heard[], other: readonly Heard[]): string[] {
	const places = new Map(other.map(({ message, gaps }, place) => [message, { gaps, place }]));
	let before: { heard: Heard; place: number; gaps: number } | undefined;
	const found: string[] = [];
	for (const heard of one) {
		const there = places.get(heard.message);
		if (!there) continue;
		const isSteady = before?.heard.gaps === heard.gaps && before.gaps === there.gaps;
		if (before && isSteady && there.place < before.place) {
			found.push(`${heard.message} after ${before.heard.message}`);
		}
		before = { heard, ...there };
	}
	return found;
}

const closers: (() => unknown)[] = [];

beforeEach(() => {
	const page = new FakePage();
	vi.stubGlobal('window', page.window);
	vi.stubGlobal('document', page.document);
});
afterEach(async () => {
	vi.unstubAllGlobals();
	for (const close of closers.splice(0).reverse()) await close();
});

async function startRedis(): Promise<SharedServer> {
	// What it has answered survives a crash, as in a database of which one expects it.
	const args = ['--appendonly', 'yes', '--appendfsync', 'no'];
	const server = await RedisServer.start({ args });
	return Object.assign(server, { options: { redisUrl: server.url } });
}

async function startPostgres(): Promise<SharedServer> {
	const server = await PostgresServer.start();
	return Object.assign(server, { options: { postgresUrl: server.url } });
}

describe.each([
	{ name: 'Redis', isHere: hasRedis, startShared: startRedis },
	{ name: 'Postgres', isHere: hasPostgres, startShared: startPostgres }
])('three processes that share $name', ({ name, isHere, startShared }) => {
	test.skipIf(!isHere)(
		`send each message once, in one order, or announce the gap (CLUSTER_SEED=${SEED})`,
		async () => {
			const app = await buildApp('cluster');
			closers.push(() => app.remove());
			const shared = await startShared();
			closers.push(() => shared.close());
			const engine = await startInngestDev();
			closers.push(() => engine.close());
			const balancer = await Balancer.start();
			closers.push(() => balancer.close());
			const options: MemberOptions = { engineUrl: engine.url, ...shared.options };
			const env = { ...process.env, MEMBER_OPTIONS: JSON.stringify(options) };
			const members = Array.from(
				{ length: PROCESSES },
				() =>
					new Member(() => fork(app.file, { env: { ...env, NODE_ENV: 'production' } }), balancer)
			);
			closers.push(() => Promise.all(members.map((member) => member.kill())));
			await Promise.all(members.map((member) => member.start()));

			const witnesses = Array.from(
				{ length: CLIENTS },
				(_, index) => new Witness(balancer.url, `client ${index}`)
			);
			closers.push(() => witnesses.forEach((witness) => witness.close()));
			const areConnected = (): boolean => witnesses.every(({ isConnected }) => isConnected);
			await expect.poll(areConnected, { timeout: 20_000 }).toBe(true);

			const counts = new Map(TOPICS.map((each) => [each.join('/'), 0]));
			const next = (id: string, topicName: string): number => {
				const n = counts.get(`${id}/${topicName}`)! + 1;
				counts.set(`${id}/${topicName}`, n);
				return n;
			};
			/** The same message until a process has taken it: how often that is must not matter. */
			const emit = async (id: string): Promise<void> => {
				const n = next(id, 'emitted');
				for (;;) {
					try {
						return await pick(members).emit(id, n);
					} catch {
						await wait(50);
					}
				}
			};
			const publish = (id: string): void =>
				engine.publish({ channel: id, topic: 'published', data: next(id, 'published') });
			const send = async ([id, topicName]: (typeof TOPICS)[number]): Promise<void> =>
				topicName === 'emitted' ? emit(id) : publish(id);
			let isSending = true;
			const sending = TOPICS.map(async (each) => {
				while (isSending) {
					await send(each);
					await wait((TOPICS.length * 1_000) / PER_SECOND);
				}
			});

			const done: Record<string, number> = {};
			const faults: Record<string, () => unknown> = {
				cutStreams: () => balancer.cut(() => random() < 0.5),
				cutUpstream: () => engine.dropSockets(),
				killProcess: async () => {
					const member = pick(members);
					await member.kill();
					await wait(random() * 1_000);
					await member.start();
				}
			};
			const takeAway = async (): Promise<void> => {
				const kind = pick(['stop', 'freeze'] as const);
				done[kind] = (done[kind] ?? 0) + 1;
				await shared[kind]();
				await wait(AWAY_MS);
				await (kind === 'stop' ? shared.start() : shared.thaw());
			};
			const beganAt = Date.now();
			const after = (share: number): Promise<void> =>
				wait(Math.max(0, beganAt + share * SECONDS * 1_000 - Date.now()));
			const outages = (async () => {
				await after(0.2);
				await takeAway();
				await after(0.6);
				await takeAway();
			})();
			closers.push(() => outages.catch(() => {}));
			const found = (): string[] => witnesses.flatMap(({ faults }) => faults);
			while (Date.now() < beganAt + SECONDS * 1_000) {
				await wait(200 + random() * (IS_LONG ? 2_500 : 800));
				const fault = pick(Object.keys(faults));
				done[fault] = (done[fault] ?? 0) + 1;
				await faults[fault]!();
				expect(found()).toEqual([]);
			}
			await outages;
			isSending = false;
			await Promise.all(sending);
			await expect.poll(areConnected, { timeout: 40_000 }).toBe(true);

			// A last message of each topic proves that everybody is up to date. One that falls into a gap is
			// announced as lost, so that another follows.
			const isUpToDate = (witness: Witness): boolean =>
				TOPICS.every((each) => witness.last(...each) === counts.get(each.join('/')));
			for (let attempt = 0; attempt < 30; attempt++) {
				await Promise.all(TOPICS.map(send));
				await wait(500);
				if (witnesses.every(isUpToDate)) break;
			}
			expect(witnesses.filter((witness) => !isUpToDate(witness))).toEqual([]);
			expect(found()).toEqual([]);
			for (const id of SUBSCRIPTIONS.keys()) {
				const heard = witnesses.map((witness) => witness.heard.get(id)!);
				for (const [index, one] of heard.entries()) {
					for (const other of heard.slice(index + 1)) expect(inversions(one, other)).toEqual([]);
				}
			}

			const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
			const heard = witnesses.reduce(
				(sum, witness) => sum + [...witness.heard.values()].flat().length,
				0
			);
			const late = witnesses.reduce((sum, witness) => sum + witness.late.size, 0);
			const resyncs = witnesses.reduce((sum, witness) => sum + witness.resyncs, 0);
			console.info(
				`cluster, ${name}: ${SECONDS} s, seed ${SEED}, ${CLIENTS} clients, ${total} messages, ` +
					`heard ${((100 * heard) / (total * CLIENTS)).toFixed(1)} %, late ${late}, resyncs ${resyncs}, faults ${JSON.stringify(done)}`
			);
			// Gaps are announced, but they are not the rule.
			expect(heard).toBeGreaterThan((total * CLIENTS) / 2);
		},
		(SECONDS + 150) * 1_000
	);
});
