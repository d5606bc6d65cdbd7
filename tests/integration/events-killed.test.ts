import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import { defineEvent, getRealtimeBusSend } from '../../src/lib/client/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { TestTransport } from '../../src/lib/testing/transport.js';
import { FakeServer } from '../support/backend.js';
import { demoChannel } from '../support/channels.js';
import { seeded } from '../support/random.js';
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
					begin: (id, { hash }) => idempotency!.begin(id, { hash, leaseMs: 500 })
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
