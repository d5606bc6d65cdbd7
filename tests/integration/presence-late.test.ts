import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { PresenceStore } from '../../src/lib/server/backend/presence.js';
import { demoChannel } from '../support/channels.js';
import { People, type Instance } from '../support/people.js';
import { eventually } from '../support/wait.js';

let people = new People();
afterEach(async () => {
	await people.close();
	people = new People();
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How long, in milliseconds, a process waits for the backend here. */
const TIMEOUT_MS = 100;

/** What becomes of one call: it is done and not answered, done too late, or never done. */
type Fault = 'unanswered' | 'late' | 'lost';
const faults: Fault[] = ['unanswered', 'late', 'lost'];

type Method = 'join' | 'leave' | 'update';

/** A process whose line to the backend is bad: the next call of a method can be made to fail. */
async function start(): Promise<{ instance: Instance; fail(method: Method, fault: Fault): void }> {
	const backend = people.server.connect(TIMEOUT_MS);
	const store = backend.presence!;
	const next = new Map<Method, Fault>();
	const unsure =
		<TArgs extends unknown[], T>(method: Method, call: (...args: TArgs) => PromiseLike<T>) =>
		async (...args: TArgs): Promise<T> => {
			const [channel] = args;
			const fault = String(channel).includes('$fleet') ? undefined : next.get(method);
			if (!fault) return call(...args);
			next.delete(method);
			if (fault === 'late') await sleep(4 * TIMEOUT_MS);
			if (fault !== 'lost') await call(...args);
			return new Promise(() => {});
		};
	const presence: PresenceStore = {
		...store,
		join: unsure('join', store.join),
		leave: unsure('leave', store.leave),
		update: unsure('update', store.update)
	};
	const instance = await people.start({
		backend: { ...backend, presence },
		heartbeatMs: 500,
		presence: { graceMs: 0, schema: z.object({ x: z.number() }).partial() }
	});
	return { instance, fail: (method, fault) => void next.set(method, fault) };
}

/** Ids in the backend itself. */
const stored = async (): Promise<string[]> =>
	(await people.server.presence.members('["demo","demo"]')).map(({ id }) => id);

test.each(faults)('a join that is %s leaves nobody behind when its page goes', async (fault) => {
	const [one, other] = [await start(), await start()];
	const bob = await other.instance.watch('bob');
	const carol = await one.instance.watch('carol');
	one.fail('join', fault);
	const alice = await one.instance.watch('alice');
	expect(alice.ids).toContain('alice');
	alice.close();
	await sleep(6 * TIMEOUT_MS);
	await eventually(async () => (await stored()).sort().join() === 'bob,carol');
	for (const watcher of [bob, carol]) await watcher.shows(['bob', 'carol']);
	// Nor does it come back.
	await sleep(300);
	expect((await stored()).sort()).toEqual(['bob', 'carol']);
	const hooks = one.instance.hooks.filter((hook) => hook.endsWith('alice'));
	// A join that comes after the leave is seen, until this process has given it up.
	expect(hooks.slice(0, 2)).toEqual(['join alice', 'leave alice']);
	if (fault !== 'late') expect(hooks).toHaveLength(2);
});

test.each(faults)('a join that is %s happens in the end, and is told of once', async (fault) => {
	const [one, other] = [await start(), await start()];
	const bob = await other.instance.watch('bob');
	one.fail('join', fault);
	const alice = await one.instance.watch('alice');
	await bob.shows(['alice', 'bob']);
	await sleep(10 * TIMEOUT_MS);
	for (const watcher of [alice, bob]) expect(watcher.ids).toEqual(['alice', 'bob']);
	await eventually(() => bob.members.get('alice')?.streams === 1);
	expect(bob.types).not.toContain('leave');
	expect(people.hooks).toEqual(['join alice', 'join bob']);
});

test.each(faults)('a leave that is %s is told of once', async (fault) => {
	const [one, other] = [await start(), await start()];
	const bob = await other.instance.watch('bob');
	const alice = await one.instance.watch('alice');
	await bob.shows(['alice', 'bob']);
	one.fail('leave', fault);
	alice.close();
	await bob.shows(['bob']);
	await eventually(() => people.hooks.includes('leave alice'));
	await sleep(6 * TIMEOUT_MS);
	expect(bob.types.filter((type) => type !== 'update')).toEqual(['sync', 'join', 'leave']);
	expect(people.hooks).toEqual(['join alice', 'join bob', 'leave alice']);
	expect(await stored()).toEqual(['bob']);
});

test.each(faults)(
	'a leave that is %s does not hide who is here with another tab',
	async (fault) => {
		const [one, other] = [await start(), await start()];
		const carol = await one.instance.watch('carol');
		const alice = await one.instance.watch('alice');
		await other.instance.watch('alice');
		await eventually(() => carol.members.get('alice')?.streams === 2);
		one.fail('leave', fault);
		alice.close();
		await eventually(() => carol.members.get('alice')?.streams === 1);
		await sleep(6 * TIMEOUT_MS);
		expect(carol.types).not.toContain('leave');
		expect(carol.members.get('alice')?.streams).toBe(1);
		expect(people.hooks).not.toContain('leave alice');
	}
);

test.each(['unanswered', 'lost'] as const)(
	'an update that is %s reaches everybody in the end, the newest one',
	async (fault) => {
		const [one, other] = [await start(), await start()];
		const alice = await one.instance.watch('alice');
		const bob = await other.instance.watch('bob');
		await bob.shows(['alice', 'bob']);
		one.fail('update', fault);
		expect((await alice.send({ data: { x: 1 } })).status).toBe(204);
		const x = (): unknown => (bob.members.get('alice')!.data as { x?: number }).x;
		await eventually(() => x() === 1);
		one.fail('update', fault);
		for (const value of [2, 3, 4]) await alice.send({ data: { x: value } });
		await eventually(() => x() === 4);
		await sleep(4 * TIMEOUT_MS);
		expect(x()).toBe(4);
		expect((await one.instance.realtime.members(demoChannel))[0]!.data).toEqual({ x: 4 });
	}
);

test('what was said while the backend was away is not lost when it is back', async () => {
	const [one, other] = [await start(), await start()];
	const alice = await one.instance.watch('alice');
	const bob = await other.instance.watch('bob');
	await bob.shows(['alice', 'bob']);
	await alice.send({ data: { x: 1 } });
	people.server.stop();
	await alice.shows(['alice']);
	expect((await alice.send({ data: { x: 2 } })).status).toBe(204);
	const own = (): unknown => (alice.members.get('alice')!.data as { x?: number }).x;
	await eventually(() => own() === 2);
	people.server.start();
	await bob.shows(['alice', 'bob'], 15_000);
	await eventually(() => (bob.members.get('alice')?.data as { x?: number })?.x === 2);
	expect(own()).toBe(2);
}, 30_000);
