import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { sum } from '../support/metrics.js';
import { People } from '../support/people.js';
import { eventually } from '../support/wait.js';
import { openStream } from '../support/sse.js';
import { demoChannel } from '../support/channels.js';

let people = new People();
afterEach(async () => {
	await people.close();
	people = new People();
});

const schema = z.object({
	x: z.number().optional(),
	isTyping: z.boolean().optional(),
	role: z.string().optional()
});

describe.each([true, false])('with a backend: %s', (isShared) => {
	test('whoever reads is a member; a sync comes first, then changes', async () => {
		const one = await people.start({ isShared });
		const alice = await one.watch('alice');
		expect(alice.sync).toMatchObject({
			channel: 'demo',
			self: 'alice',
			members: [{ id: 'alice', data: {}, streams: 1 }]
		});
		const bob = await one.watch('bob');
		await alice.shows(['alice', 'bob']);
		await bob.shows(['alice', 'bob']);
		expect(alice.types).toEqual(['sync', 'join']);
		expect(one.hooks).toEqual(['join alice', 'join bob']);
		expect((await one.realtime.members(demoChannel)).map(({ id }) => id)).toEqual(['alice', 'bob']);
		expect(await one.realtime.isOnline('bob')).toBe(true);
		expect(await one.realtime.isOnline('carol')).toBe(false);
		expect(await one.realtime.readers(demoChannel)).toBe(2);
		expect(sum(one.realtime, 'presence_members', { channel: 'demo' })).toBe(2);
	});

	test('several streams of one id are one member with a count', async () => {
		const one = await people.start({ isShared });
		const bob = await one.watch('bob');
		const first = await one.watch('alice');
		const second = await one.watch('alice');
		await eventually(() => bob.members.get('alice')?.streams === 2);
		first.close();
		await eventually(() => bob.members.get('alice')?.streams === 1);
		expect(bob.types.filter((type) => type !== 'update')).toEqual(['sync', 'join']);
		expect(second.ids).toEqual(['alice', 'bob']);
	});

	test('who comes back in time has neither left nor joined; who does not has left once', async () => {
		const one = await people.start({ isShared, presence: { graceMs: 300 } });
		const bob = await one.watch('bob');
		const alice = await one.watch('alice');
		await bob.shows(['alice', 'bob']);
		alice.close();
		await new Promise((resolve) => setTimeout(resolve, 100));
		const again = await one.watch('alice');
		await new Promise((resolve) => setTimeout(resolve, 400));
		expect(bob.types).toEqual(['sync', 'join']);
		again.close();
		await bob.shows(['bob']);
		expect(bob.types).toEqual(['sync', 'join', 'leave']);
		expect(one.hooks).toEqual(['join bob', 'join alice', 'leave alice']);
	});

	test('`null` reads, and is no member', async () => {
		const one = await people.start({ isShared, presence: { member: () => null } });
		const alice = await one.watch('alice');
		expect(alice.sync.members).toEqual([]);
		expect(alice.sync.self).toBeUndefined();
		expect((await alice.send({ data: { x: 1 } })).status).toBe(403);
		expect(one.hooks).toEqual([]);
	});

	test('an update reaches everybody, validated, merged, and not in the log', async () => {
		const one = await people.start({
			isShared,
			presence: { schema, fixed: ['role'], member: () => ({ data: { role: 'editor' } }) }
		});
		const alice = await one.watch('alice');
		const bob = await one.watch('bob');
		await alice.shows(['alice', 'bob']);
		expect((await alice.send({ data: { x: 1 } })).status).toBe(204);
		await eventually(() => (bob.members.get('alice')?.data as { x?: number }).x === 1);
		expect((await alice.send({ data: { x: 'left' } })).status).toBe(400);
		expect((await alice.send({ data: { role: 'admin', isTyping: true }, ttlMs: 300 })).status).toBe(
			204
		);
		const seen = (): unknown[] =>
			bob.payloads.flatMap((payload) =>
				payload.type === 'update' ? payload.members.map(({ data }) => data) : []
			);
		await eventually(() => seen().length === 3);
		expect(seen()).toEqual([
			{ role: 'editor', x: 1 },
			{ role: 'editor', x: 1, isTyping: true },
			{ role: 'editor', x: 1 }
		]);
		const late = await one.open({ channel: 'demo', history: 10 });
		await late.connected();
		expect(late.messages).toEqual([]);
	});

	test('nobody can act for another', async () => {
		const one = await people.start({ isShared, presence: { schema } });
		const alice = await one.watch('alice');
		await one.watch('mallory');
		expect((await alice.send({ data: { x: 1 } }, 'mallory')).status).toBe(403);
		expect((await alice.send({ data: { x: 1 } }, '')).status).toBe(403);
		expect((await alice.send({ stream: 'guess', data: { x: 1 } })).status).toBe(403);
		expect(alice.types).not.toContain('update');
	});

	test('who is revoked leaves at once, and can update no more', async () => {
		let banned = '';
		const one = await people.start({
			isShared,
			presence: { schema },
			authorize: ({ request }) => request.headers.get('x-user') !== banned
		});
		const alice = await one.watch('alice');
		const bob = await one.watch('bob');
		await bob.shows(['alice', 'bob']);
		banned = 'alice';
		await one.realtime.recheck('alice');
		await bob.shows(['bob'], 1_000);
		await alice.reader.end();
		expect(alice.reader.health().at(-1)).toMatchObject({ fatal: true, code: 403 });
		expect((await alice.send({ data: { x: 1 } })).status).toBe(403);
	});

	test('a full channel refuses with 409, by either kind of request', async () => {
		const one = await people.start({ isShared, presence: { maxMembers: 1 } });
		await one.watch('alice');
		await one.watch('alice');
		await expect(
			openStream(one.server.url, { channel: 'demo' }, { 'x-user': 'bob' })
		).rejects.toThrow(/409 .*1 members/);
		const many = await openStream(
			one.server.url,
			{ subscriptions: [{ channel: 'demo' }] },
			{ 'x-user': 'bob' }
		);
		await many.end();
		expect(many.health('demo').at(-1)).toMatchObject({
			code: 409,
			stage: 'admission',
			fatal: true
		});
		expect(one.hooks).toEqual(['join alice', 'full bob', 'full bob']);
	});

	test('remove and end say why', async () => {
		const one = await people.start({ isShared });
		const alice = await one.watch('alice');
		const bob = await one.watch('bob');
		await bob.shows(['alice', 'bob']);
		expect(await one.realtime.remove(demoChannel, 'alice', 'Be nice')).toBe(1);
		await alice.reader.end();
		expect(alice.reader.health().at(-1)).toMatchObject({ detail: 'Be nice', fatal: true });
		await bob.shows(['bob'], 1_000);
		expect(await one.realtime.end(demoChannel, 'Over')).toBe(1);
		await bob.reader.end();
		expect(bob.reader.health().at(-1)).toMatchObject({ detail: 'Over', fatal: true, code: 410 });
	});
});
