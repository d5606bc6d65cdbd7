import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate, postgresBackend } from '../../../src/lib/postgres/index.js';
import { BusRecorder, message, texts } from '../../support/listeners.js';
import { clients, hasPostgres, PostgresServer } from '../../support/postgres.js';
import { seeded } from '../../support/random.js';
import { eventually } from '../../support/wait.js';

const seed = Number(process.env.SEED ?? Date.now() % 100_000);
const runMs = process.env.BACKENDS === 'all' ? 60_000 : 4_000;

describe.skipIf(!hasPostgres)('a PostgreSQL that fails at random', () => {
	let server: PostgresServer;

	beforeAll(async () => void (server = await PostgresServer.start()), 60_000);
	afterAll(() => server.close());

	test(
		`what is published again until it is taken is in the log once, in one order (SEED=${seed})`,
		async () => {
			const random = seeded(seed);
			const processes = (['pg', 'postgres', 'pg'] as const).map((name) => {
				const { client, end } = clients[name](server);
				const backend = postgresBackend(client, {
					timeoutMs: 500,
					heartbeatMs: 1_000,
					maxEvents: 1e6
				});
				const listener = new BusRecorder();
				return { backend, listener, client, end };
			});
			await migrate(processes[0]!.client);
			const start = (await processes[0]!.backend.replay.bounds('log')).last;
			for (const { backend, listener } of processes) backend.bus.listen('log', listener);
			await eventually(() => processes.every(({ listener }) => listener.turns.length > 0));

			let isRunning = true;
			const published: string[] = [];
			const publishers = processes.map(async ({ backend }, who) => {
				for (let n = 0; isRunning; n++) {
					const events = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, m) =>
						message(`${who}.${n}.${m}`)
					);
					published.push(...texts(events.map((event) => ({ ...event, cursor: '' }))).map(String));
					const publish = async (): Promise<unknown> =>
						n % 2
							? await backend.replay.append('log', events)
							: await Promise.all(events.map((event) => backend.bus.publish('log', event)));
					while (
						!(await publish().then(
							() => true,
							() => false
						))
					)
						await delay(20);
					await delay(random() * 20);
				}
			});
			const faults = [
				async () => {
					await server.stop();
					await delay(random() * 500);
					await server.start();
				},
				async () => {
					await server.freeze();
					await delay(random() * 1_500);
					await server.thaw();
				},
				() =>
					server.query(
						'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and random() < 0.7'
					)
			];
			for (const end = Date.now() + runMs; Date.now() < end;) {
				await delay(random() * 500);
				await faults[Math.floor(random() * faults.length)]!();
			}
			isRunning = false;
			await Promise.all(publishers);
			await eventually(() => processes.every(({ listener }) => listener.turns.at(-1) === 'live'));

			const logs = await Promise.all(
				processes.map(async ({ backend: { replay } }) => {
					const events = [];
					for (let cursor = start, more: boolean | undefined = true; more;) {
						const slice = await replay.since('log', cursor, 500);
						expect(slice.missed).toBeUndefined();
						events.push(...slice.events);
						cursor = slice.events.at(-1)?.cursor ?? cursor;
						({ more } = slice);
					}
					return events;
				})
			);
			expect(published.length).toBeGreaterThan(20);
			expect(texts(logs[0]!).sort()).toEqual([...published].sort());
			expect(logs[0]!.map(({ cursor }) => Number(cursor.split('-')[1]))).toEqual(
				published.map((_, index) => index + 1)
			);
			expect(logs.slice(1)).toEqual([logs[0], logs[0]]);
			// What was announced is part of it, in its order.
			for (const { listener } of processes) {
				const told = new Set(listener.told.map(({ cursor }) => cursor));
				expect(listener.told).toEqual(logs[0]!.filter(({ cursor }) => told.has(cursor)));
			}
			for (const { backend, end } of processes) {
				backend.close();
				await end();
			}
		},
		runMs + 60_000
	);
});
