import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { demoChannel } from '../support/channels.js';
import { deaf, People } from '../support/people.js';
import { seeds, storm } from '../support/storm.js';
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
				listen: (listener) => store.listen('room', listener),
				due: () => {},
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

for (const seed of seeds()) {
	test(`members come, go, reconnect and die with their process (seed ${seed})`, async () => {
		await storm(people, { seed, start: (options) => people.start(options) });
	}, 60_000);

	test(`members come, go and reconnect in one process without a backend (seed ${seed})`, async () => {
		const start = (options: object) => people.start({ ...options, isShared: false });
		await storm(people, { seed, start, processes: 1, kills: false });
	}, 60_000);
}
