import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import { createRealtimeBus, defineEvent, getRealtimeBusSend } from '../../src/lib/client/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { TestTransport } from '../../src/lib/testing/transport.js';
import { FakeServer } from '../support/backend.js';
import { Balancer } from '../support/balancer.js';
import { add as addInLedger, type LedgerOptions, type LedgerRun } from '../support/child/ledger.js';
import { buildApp } from '../support/child/start.js';
import { demoChannel } from '../support/channels.js';
import { hasPostgres, PostgresServer } from '../support/postgres.js';
import { seeded } from '../support/random.js';
import { hasRedis, RedisServer } from '../support/redis.js';
import { serve, type TestServer } from '../support/server.js';
import { clientAt, until } from '../support/upstream.js';

const add = defineEvent('ledger/add', {
	schema: z.object({ page: z.number(), amount: z.number() }),
	channel: ({ page }) => `ledger:${page}`,
	result: z.object({ added: z.number() })
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One life of the server's process. */
class Process {
	isDead = false;
	/** Cut with the process: its calls to the backend do not arrive any more. */
	readonly line = { isCut: false };
	readonly realtime: Realtime;
	server!: TestServer;

	constructor(shared: FakeServer, effects: Map<string, number>, random: () => number) {
		const backend = shared.connect(2_000, this.line);
		const { idempotency } = backend;
		this.realtime = createRealtime({
			inngest: clientAt('http://127.0.0.1:9'),
			channels: { demo: { channel: demoChannel, authorize: () => true, source: false } },
			backend: {
				...backend,
				// Whoever takes over from a dead process would wait for half a minute.
				idempotency: {
					...idempotency!,
					begin: (id, { hash }) => idempotency!.begin(id, { hash, leaseMs: 2_000 })
				}
			},
			onFailure() {},
			events: {
				add: {
					event: add,
					authorize: () => true,
					run: async ({ id }, { amount }) => {
						await sleep(random() * 20);
						// What a killed process had not done yet is never done.
						if (this.isDead) await new Promise(() => {});
						effects.set(id, (effects.get(id) ?? 0) + 1);
						return { added: amount };
					}
				}
			}
		});
	}

	async kill(): Promise<void> {
		this.isDead = true;
		this.line.isCut = true;
		await this.server.close();
		this.realtime.close();
	}
}

let current: Process | undefined;
afterEach(() => current?.kill());

test('1,000 events of 20 pages: each ran once, though the server is killed and lines are cut', async () => {
	const random = seeded(7);
	const shared = new FakeServer();
	const effects = new Map<string, number>();
	const start = async (port = 0): Promise<Process> => {
		const process = new Process(shared, effects, random);
		process.server = await serve(process.realtime, {
			port,
			// A connection that was accepted in the moment of the end.
			around: (_, next) => (process.isDead ? Promise.reject(new Error('killed')) : next())
		});
		return (current = process);
	};
	const { port } = (await start()).server.server.address() as AddressInfo;

	const pages = Array.from({ length: 20 }, (_, page) => {
		const bus = new RealtimeBus({
			subscriptions: () => new Map(),
			connect: (owner) => new TestTransport(owner),
			settings: () => ({ endpoint: `http://127.0.0.1:${port}/` })
		});
		const send = getRealtimeBusSend(add, { bus });
		return Promise.all(
			Array.from({ length: 50 }, (_, n) => send({ page, amount: n }, { id: `${page}-${n}` }))
		);
	});
	let isDone = false;
	const answered = Promise.all(pages).finally(() => (isDone = true));
	await until(() => effects.size > 20, 'the first events');
	for (let turn = 0; !isDone; turn++) {
		await sleep(50 + random() * 150);
		if (turn > 8) continue;
		if (turn % 2) {
			await current!.kill();
			await start(port);
		} else current!.server.server.closeAllConnections();
	}
	const answers = (await answered).flat();
	expect(answers).toHaveLength(1_000);
	for (const { id, result } of answers) expect(result.added).toBe(Number(id.split('-')[1]));
	expect(effects.size).toBe(1_000);
	expect([...effects.values()].every((count) => count === 1)).toBe(true);
	// Each page's events ran in the order in which they were sent.
	const order = [...effects.keys()].filter((id) => id.startsWith('3-'));
	expect(order).toEqual(Array.from({ length: 50 }, (_, n) => `3-${n}`));
}, 120_000);

/** `EVENTS_KILLED=1` sends 1,000 events, a larger number that many times as many: the long run. */
const TIMES = Number(process.env.EVENTS_KILLED ?? 0);
const PAGES = 20;
const PER_PAGE = 50 * TIMES || 10;
const KILLS = 4 * TIMES || 2;

describe('processes that are killed', () => {
	let app: Awaited<ReturnType<typeof buildApp>>;
	beforeAll(async () => {
		app = await buildApp('ledger');
	}, 60_000);
	afterAll(() => app.remove());

	/** Kills and restarts two processes while pages send. */
	async function run(options: LedgerOptions): Promise<void> {
		const balancer = await Balancer.start();
		/** Runs by the id of their event, and which process made them. */
		const runs = new Map<string, { run: string; by: ChildProcess }[]>();
		const killed = new Set<ChildProcess>();
		const alive: { child: ChildProcess; port: number }[] = [];
		const start = async (): Promise<void> => {
			const child = fork(app.file, {
				env: { ...process.env, LEDGER_OPTIONS: JSON.stringify(options) }
			});
			const [{ url }] = (await once(child, 'message')) as [{ url: string }];
			child.on('message', (message) => {
				const { id, run } = message as LedgerRun;
				runs.set(id, [...(runs.get(id) ?? []), { run, by: child }]);
			});
			const port = Number(new URL(url).port);
			alive.push({ child, port });
			balancer.add(port);
		};
		const kill = async (): Promise<void> => {
			const { child, port } = alive.shift()!;
			killed.add(child);
			balancer.remove(port);
			const gone = once(child, 'exit');
			child.kill('SIGKILL');
			await gone;
		};
		await Promise.all([start(), start()]);
		try {
			const buses = Array.from({ length: PAGES }, () =>
				createRealtimeBus({ endpoint: balancer.url, maxPending: PER_PAGE })
			);
			const idOf = (page: number, n: number): string => `${page}-${n}`;
			const send = (page: number, n: number) =>
				buses[page]!.send(addInLedger, { page, amount: n }, { id: idOf(page, n) });
			let isDone = false;
			const sent = Promise.all(
				buses.flatMap((_, page) => Array.from({ length: PER_PAGE }, (_, n) => send(page, n)))
			).finally(() => (isDone = true));
			await until(() => runs.size > 20, 'the first events');
			let kills = 0;
			while (!isDone) {
				await sleep(100 + Math.random() * 200);
				if (kills < KILLS) {
					balancer.cut(() => Math.random() < 0.3);
					await Promise.all([start(), kill()]);
					kills++;
				}
			}
			const answers = await sent;
			expect(kills).toBeGreaterThanOrEqual(1);
			expect(answers).toHaveLength(PAGES * PER_PAGE);
			// Nothing that was answered is lost, and the same answer is there for whoever asks again.
			const again = await Promise.all(
				answers.map(async ({ id, result }, at) => {
					if (at % 10) return result;
					const [page, n] = id.split('-').map(Number) as [number, number];
					return (await send(page, n)).result;
				})
			);
			expect(again).toEqual(answers.map(({ result }) => result));
			for (const { id, result } of answers) {
				const made = runs.get(id) ?? [];
				expect(result.added).toBe(Number(id.split('-')[1]));
				expect(made.filter(({ run }) => run === result.run)).toHaveLength(1);
				// Any other run was cut off by a kill, before anybody had its answer.
				for (const { by, run } of made) {
					expect(run === result.run || killed.has(by), `${id} ran twice`).toBe(true);
				}
			}
			const repeated = [...runs.values()].filter(({ length }) => length > 1).length;
			expect(repeated).toBeLessThanOrEqual(kills * PAGES);
			for (const bus of buses) bus.close();
		} finally {
			while (alive.length > 0) await kill();
			await balancer.close();
		}
	}

	test.runIf(hasRedis).concurrent(
		'with Redis: what was answered ran once, and nothing is lost',
		async () => {
			const redis = await RedisServer.start();
			await run({ redisUrl: redis.url }).finally(() => redis.close());
		},
		60_000 * (TIMES + 1)
	);

	test.runIf(hasPostgres).concurrent(
		'with Postgres: what was answered ran once, and nothing is lost',
		async () => {
			const postgres = await PostgresServer.start();
			await run({ postgresUrl: postgres.url }).finally(() => postgres.close());
		},
		60_000 * (TIMES + 1)
	);
});
