import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { demoChannel } from '../support/channels.js';
import { deaf, People, type Instance, type Watcher } from '../support/people.js';
import { seeded } from '../support/random.js';
import { eventually } from '../support/wait.js';

let people = new People();
afterEach(async () => {
	await people.close();
	people = new People();
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const schema = z.object({ x: z.number() }).partial();

test('readers of all processes see each other, and hooks are called once', async () => {
	const [one, other] = [await people.start(), await people.start()];
	const alice = await one.watch('alice');
	const bob = await other.watch('bob');
	const again = await other.watch('alice');
	for (const watcher of [alice, bob, again]) await watcher.shows(['alice', 'bob']);
	await eventually(() => bob.members.get('alice')?.streams === 2);
	expect(people.hooks).toEqual(['join alice', 'join bob']);
	for (const { realtime } of [one, other]) {
		expect((await realtime.members(demoChannel)).map(({ id }) => id)).toEqual(['alice', 'bob']);
		expect(await realtime.readers(demoChannel)).toBe(3);
		expect(await realtime.isOnline('bob')).toBe(true);
	}
	await one.realtime.remove(demoChannel, 'alice', 'Enough');
	await bob.shows(['bob'], 1_000);
	expect(people.hooks).toEqual(['join alice', 'join bob', 'leave alice']);
});

test('an update that reaches another process than the stream', async () => {
	const [one, other] = [
		await people.start({ presence: { schema } }),
		await people.start({ presence: { schema } })
	];
	const alice = await one.watch('alice');
	const bob = await other.watch('bob');
	await bob.shows(['alice', 'bob']);
	expect((await alice.send({ data: { x: 7 } }, 'alice', other.server.url)).status).toBe(204);
	await eventually(() => (bob.members.get('alice')?.data as { x?: number }).x === 7);
	expect((await alice.send({ data: { x: 8 } }, 'bob', other.server.url)).status).toBe(403);
	expect((await alice.send({ data: { x: 'no' } }, 'alice', other.server.url)).status).toBe(400);
	expect((await alice.send({ stream: 'guess' }, 'alice', other.server.url)).status).toBe(403);
});

test('a process that stops hands its members over', async () => {
	const presence = { graceMs: 1_000 };
	const [one, other] = [await people.start({ presence }), await people.start({ presence })];
	await one.watch('alice');
	await one.watch('carol');
	const bob = await other.watch('bob');
	await bob.shows(['alice', 'bob', 'carol']);
	one.realtime.close();
	await other.watch('alice');
	await bob.shows(['alice', 'bob'], 4_000);
	await sleep(200);
	const changes = bob.payloads.flatMap((payload) =>
		payload.type === 'leave' ? [...payload.ids] : []
	);
	expect(changes).toEqual(['carol']);
	expect(people.hooks).toEqual(['join alice', 'join bob', 'join carol', 'leave carol']);
});

test('while the backend is away each process shows its own, and is right again afterwards', async () => {
	const [one, other] = [
		await people.start({ heartbeatMs: 200, presence: { graceMs: 0 } }),
		await people.start({ heartbeatMs: 200, presence: { graceMs: 0 } })
	];
	const alice = await one.watch('alice');
	const bob = await other.watch('bob');
	await alice.shows(['alice', 'bob']);
	people.server.stop();
	await alice.shows(['alice']);
	await bob.shows(['bob']);
	await expect(one.realtime.readers(demoChannel)).rejects.toMatchObject({ code: 'BACKEND' });
	const carol = await one.watch('carol');
	await alice.shows(['alice', 'carol']);
	expect(carol.ids).toEqual(['alice', 'carol']);
	bob.close();
	await eventually(() => other.hooks.includes('leave bob'));
	people.server.start();
	const dave = await other.watch('dave');
	for (const watcher of [alice, carol, dave])
		await watcher.shows(['alice', 'carol', 'dave'], 15_000);
	expect(people.hooks).toEqual(['join alice', 'join bob', 'join carol', 'join dave', 'leave bob']);
}, 40_000);

test('a process whose leases ran out says again who is there', async () => {
	const one = await people.start({ heartbeatMs: 100 });
	const alice = await one.watch('alice');
	await people.server.expire();
	await eventually(() => people.server.presence.size.members >= 2);
	await alice.shows(['alice']);
	expect((await one.realtime.members(demoChannel)).map(({ id }) => id)).toEqual(['alice']);
});

test('10,000 joins and leaves leave nothing behind', async () => {
	const { MemoryPresenceStore } = await import('../../src/lib/server/backend/memoryPresence.js');
	const { Room } = await import('../../src/lib/server/presence/room.js');
	const store = new MemoryPresenceStore();
	const counts = { join: 0, leave: 0 };
	let ended = 0;
	let room: InstanceType<typeof Room> | undefined;
	const enter = (): InstanceType<typeof Room> =>
		(room ??= new Room(
			{
				key: 'room',
				channel: 'room',
				owner: () => 'me',
				store,
				leaseMs: 1_000,
				maxMembers: undefined,
				joined: () => void counts.join++,
				left: () => void counts.leave++,
				full: () => {},
				idle: () => {
					ended++;
					room = undefined;
				}
			},
			false
		));
	for (let round = 0; round < 100; round++) {
		const readers = Array.from({ length: 100 }, (_, n) => ({
			self: { id: String(n), data: {} },
			reader: { head: {}, ...deaf }
		}));
		const current = enter();
		await Promise.all(readers.map(({ reader, self }) => current.enter(reader, self)));
		for (const { reader, self } of readers) current.leave(reader, self, 0);
		await eventually(() => room === undefined);
	}
	expect(ended).toBe(100);
	expect(counts).toEqual({ join: 10_000, leave: 10_000 });
	expect(store.size).toEqual({ members: 0, listeners: 0 });
});

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));

test(`members come, go, reconnect and die with their process (seed ${seed})`, async () => {
	const next = seeded(seed);
	const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
	const options = { heartbeatMs: 400, presence: { graceMs: 250, schema } };
	let alive: Instance[] = [];
	for (let n = 0; n < 3; n++) alive.push(await people.start(options));
	const open = new Map<Watcher, Instance>();
	const all: Watcher[] = [];
	const come = async (user: string): Promise<void> => {
		const instance = pick(alive);
		const watcher = await instance.watch(user);
		open.set(watcher, instance);
		all.push(watcher);
	};
	const go = (watcher: Watcher): void => {
		open.delete(watcher);
		watcher.close();
	};
	const users = ['a', 'b', 'c', 'd', 'e', 'f'];
	for (let round = 0; round < 60; round++) {
		const dice = next();
		if (dice < 0.45 || open.size === 0) await come(pick(users));
		else if (dice < 0.7) go(pick([...open.keys()]));
		else if (dice < 0.9) {
			const watcher = pick([...open.keys()]);
			go(watcher);
			await come(watcher.user);
		} else if (dice < 0.95) {
			await pick([...open.keys()]).send({ data: { x: next() } });
		} else if (round < 50) {
			const dead = pick(alive);
			alive = alive.filter((instance) => instance !== dead);
			for (const [watcher, instance] of open) if (instance === dead) open.delete(watcher);
			dead.kill();
			alive.push(await people.start(options));
		}
		await sleep(next() * 40);
	}
	if (open.size === 0) await come('a');
	const wanted = [...new Set([...open.keys()].map(({ user }) => user))];
	await sleep(2_000);
	for (const watcher of open.keys()) expect(watcher.ids, watcher.user).toEqual(wanted.sort());
	// The watcher throws when a member joins twice.
	for (const watcher of all) void watcher.members;
	for (const { realtime } of alive) {
		expect((await realtime.members(demoChannel)).map(({ id }) => id).sort()).toEqual(wanted);
	}
	for (const watcher of [...open.keys()]) go(watcher);
	await sleep(1_500);
	expect(await alive[0]!.realtime.members(demoChannel)).toEqual([]);
	const counts = new Map<string, number>();
	for (const hook of people.hooks) {
		const [name, id] = hook.split(' ') as [string, string];
		counts.set(id, (counts.get(id) ?? 0) + (name === 'join' ? 1 : -1));
	}
	expect(Object.fromEntries(counts)).toEqual(
		Object.fromEntries([...counts.keys()].map((id) => [id, 0]))
	);
}, 60_000);
