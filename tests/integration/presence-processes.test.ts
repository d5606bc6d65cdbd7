import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { PeopleOptions } from '../support/child/people.js';
import { buildApp } from '../support/child/start.js';
import { Watcher } from '../support/people.js';
import { hasPostgres, PostgresServer } from '../support/postgres.js';
import { hasRedis, RedisServer } from '../support/redis.js';
import { openStream } from '../support/sse.js';
import { eventually } from '../support/wait.js';

const HEARTBEAT_MS = 500;
const GRACE_MS = 4_000;

let bundle: Awaited<ReturnType<typeof buildApp>>;
beforeAll(async () => void (bundle = await buildApp('people')), 60_000);
afterAll(() => bundle.remove());

/** A process of the app. */
interface Process {
	child: ChildProcess;
	watch(user: string): Promise<Watcher>;
}

const servers = {
	Redis: {
		isHere: hasRedis,
		start: async () => {
			const server = await RedisServer.start();
			return { options: { redisUrl: server.url }, close: () => server.close() };
		}
	},
	PostgreSQL: {
		isHere: hasPostgres,
		start: async () => {
			const server = await PostgresServer.start();
			return { options: { postgresUrl: server.url }, close: () => server.close() };
		}
	}
};

describe.each(['Redis', 'PostgreSQL'] as const)('real processes that share %s', (name) => {
	const { isHere, start } = servers[name];
	if (!isHere) return void test.skip('a server is needed', () => {});
	let shared: Awaited<ReturnType<typeof start>>;
	const children: ChildProcess[] = [];
	const watchers: Watcher[] = [];
	let hooks: string[] = [];

	beforeAll(async () => void (shared = await start()), 60_000);
	afterEach(async () => {
		for (const watcher of watchers.splice(0)) watcher.close();
		for (const child of children.splice(0)) {
			if (child.exitCode !== null || child.signalCode !== null) continue;
			const ended = once(child, 'exit');
			child.kill('SIGKILL');
			await ended;
		}
		hooks = [];
	});
	afterAll(() => shared.close());

	async function open(): Promise<Process> {
		const options: PeopleOptions = {
			...shared.options,
			heartbeatMs: HEARTBEAT_MS,
			graceMs: GRACE_MS
		};
		const child = fork(bundle.file, {
			env: { ...process.env, NODE_ENV: 'production', PEOPLE_OPTIONS: JSON.stringify(options) }
		});
		children.push(child);
		const url = await new Promise<string>((resolve) =>
			child.on('message', ({ url, hook }: { url?: string; hook?: string }) => {
				if (url) resolve(url);
				if (hook) hooks.push(hook);
			})
		);
		return {
			child,
			async watch(user) {
				const reader = await openStream(url, { channel: 'demo' }, { 'x-user': user });
				const watcher = new Watcher(reader, user, url);
				watchers.push(watcher);
				await reader.when(() => watcher.types.includes('sync'), 'a sync');
				return watcher;
			}
		};
	}

	test('one is killed, one is asked to stop: who is gone leaves once, who comes back has not left', async () => {
		const [first, second, third] = await Promise.all([open(), open(), open()]);
		const people = `${name.toLowerCase()} `;
		const [alice, bob, carol] = ['alice', 'bob', 'carol'].map((who) => people + who) as [
			string,
			string,
			string
		];
		await first.watch(alice);
		await second.watch(bob);
		const seen = await third.watch(carol);
		await seen.shows([alice, bob, carol]);

		// Nobody waits for the time that it may take to come back: its process cannot say goodbye.
		first.child.kill('SIGKILL');
		await seen.shows([bob, carol], 15_000);
		await eventually(() => hooks.includes(`leave ${alice}`));

		const ended = once(second.child, 'exit');
		second.child.kill('SIGTERM');
		await third.watch(bob);
		await ended;
		await new Promise((resolve) => setTimeout(resolve, GRACE_MS + 3 * HEARTBEAT_MS));
		expect(seen.ids).toEqual([alice, bob, carol].filter((who) => who !== alice));
		const left = seen.payloads.flatMap((payload) =>
			payload.type === 'leave' ? [...payload.ids] : []
		);
		expect(left).toEqual([alice]);
		const joined = seen.payloads.flatMap((payload) =>
			payload.type === 'join' ? payload.members.map(({ id }) => id) : []
		);
		expect(joined).not.toContain(bob);
		expect([...hooks].sort()).toEqual(
			[`join ${alice}`, `join ${bob}`, `join ${carol}`, `leave ${alice}`].sort()
		);
	}, 60_000);
});
