import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { demoChannel } from '../support/channels.js';
import { People, type Instance } from '../support/people.js';
import { openStream } from '../support/sse.js';
import { eventually } from '../support/wait.js';

let people = new People();
afterEach(async () => {
	await people.close();
	people = new People();
});

const schema = z.record(z.string(), z.unknown());

const post = (instance: Instance, body: string, user = 'alice'): Promise<Response> =>
	fetch(instance.server.url, {
		method: 'POST',
		headers: { 'content-type': 'application/json', 'x-user': user },
		body
	});

test('what is no update is refused, and changes nothing', async () => {
	const one = await people.start({ presence: { schema, graceMs: 0 } });
	const alice = await one.watch('alice');
	const { stream } = alice.sync;
	const raw = (presence: string): Promise<Response> => post(one, `{"presence":${presence}}`);
	const bodies: [body: string, status: number][] = [
		['null', 400],
		['[]', 400],
		['"text"', 400],
		['{}', 400],
		['{"stream":1}', 400],
		[`{"stream":"${stream}","data":[1]}`, 400],
		[`{"stream":"${stream}","data":"x"}`, 400],
		[`{"stream":"${stream}","data":{"x":1},"ttlMs":"soon"}`, 400],
		[`{"stream":"${stream}","data":{"x":1},"ttlMs":-1}`, 400],
		[`{"stream":"${stream}","data":{"x":1},"ttlMs":1e300}`, 400],
		[`{"stream":"${stream}","data":{"x":1},"reset":"yes"}`, 400],
		[`{"stream":"__proto__","data":{"x":1}}`, 403],
		[`{"stream":"${stream}","data":{"x":"${'x'.repeat(20_000)}"}}`, 413],
		// Bytes count, not characters.
		[`{"stream":"${stream}","data":{"x":"${'€'.repeat(6_000)}"}}`, 413],
		[`{"stream":"${stream}","data":{"x":"${'x'.repeat(100_000)}"}}`, 413],
		[`{"stream":"${stream}","data":{"x":"${'x'.repeat(10_000_000)}"}}`, 413]
	];
	for (const [body, status] of bodies) {
		// A body that is far too large may be cut off before the answer is read.
		const answered = await raw(body).then(
			(response) => response.status,
			() => 413
		);
		expect([body.slice(0, 60), answered]).toEqual([body.slice(0, 60), status]);
	}
	const deep = `{"stream":"${stream}","data":{"x":${'['.repeat(5_000)}${']'.repeat(5_000)}}}`;
	expect((await raw(deep)).status).toBe(400);
	expect((await alice.send({ data: { x: 1 } })).status).toBe(204);
	await eventually(() => JSON.stringify(alice.members.get('alice')!.data).includes('"x":1'));
});

test('keys of prototypes are data like any other, and reach nobody else', async () => {
	const one = await people.start({
		presence: { schema, fixed: ['role'] as never, member: () => ({ data: { role: 'guest' } }) }
	});
	const alice = await one.watch('alice');
	const bob = await one.watch('bob');
	await bob.shows(['alice', 'bob']);
	const { stream } = alice.sync;
	const data = '{"__proto__":{"role":"admin"},"constructor":1,"role":"admin","x":1}';
	expect((await post(one, `{"presence":{"stream":"${stream}","data":${data}}}`)).status).toBe(204);
	const seen = (): Record<string, unknown> =>
		bob.members.get('alice')!.data as Record<string, unknown>;
	await eventually(() => seen().x === 1);
	expect(Object.hasOwn(seen(), 'role')).toBe(true);
	expect(seen().role).toBe('guest');
	expect(({} as { role?: string }).role).toBeUndefined();
	expect((bob.members.get('bob')!.data as { role?: string }).role).toBe('guest');
});

test('fields that go back take memory only while they are there', async () => {
	const one = await people.start({ presence: { schema: z.object({ x: z.number() }).partial() } });
	const alice = await one.watch('alice');
	const timers = vi.spyOn(globalThis, 'setTimeout');
	for (let n = 0; n < 20; n++) {
		const named = Array.from({ length: 200 }, (_, field) => [`field ${n} ${field}`, 1]);
		const data = { ...Object.fromEntries(named), x: n };
		expect((await alice.send({ data, ttlMs: 3_600_000 })).status).toBe(204);
	}
	const long = timers.mock.calls.filter(([, ms]) => ms === 3_600_000);
	timers.mockRestore();
	expect(long).toHaveLength(20);
});

test('two pages of one member that change different fields at once keep both', async () => {
	const one = await people.start({
		presence: {
			// A schema that takes its time.
			schema: z.record(z.string(), z.number()).refine(async () => {
				await new Promise((resolve) => setTimeout(resolve, 5));
				return true;
			})
		}
	});
	const [first, second] = [await one.watch('alice'), await one.watch('alice')];
	for (let round = 0; round < 5; round++) {
		const all = await Promise.all([
			first.send({ data: { [`a${round}`]: 1 } }),
			second.send({ data: { [`b${round}`]: 1 } })
		]);
		expect(all.map(({ status }) => status)).toEqual([204, 204]);
	}
	const [alice] = await one.realtime.members(demoChannel);
	expect(Object.keys(alice!.data).sort().join()).toBe('a0,a1,a2,a3,a4,b0,b1,b2,b3,b4');
});

test.each(['__proto__', 'constructor', 'toString', '%s\u0000"', 'ü'.repeat(200), '42', ' '])(
	'the id %j is an id like any other',
	async (id) => {
		const options = {
			presence: { schema, graceMs: 0, member: () => ({ id, data: { name: id } }) }
		};
		const [one, other] = [await people.start(options), await people.start(options)];
		const alice = await one.watch('alice');
		const again = await other.watch('alice');
		await eventually(() => alice.members.get(id)?.streams === 2);
		expect(alice.ids).toEqual([id]);
		expect((await again.send({ data: { x: 1 } })).status).toBe(204);
		await eventually(() => (alice.members.get(id)?.data as { x?: number }).x === 1);
		expect(await one.realtime.isOnline(id)).toBe(true);
		expect(await one.realtime.remove(demoChannel, id, 'Enough')).toBe(2);
		expect(await other.realtime.members(demoChannel)).toEqual([]);
	}
);

test('a channel with room for three takes three of many who come at once, in two processes', async () => {
	const options = { presence: { maxMembers: 3, graceMs: 0 } };
	const [one, other] = [await people.start(options), await people.start(options)];
	const comers = await Promise.allSettled(
		Array.from({ length: 16 }, async (_, n) => {
			const { server } = n % 2 === 0 ? one : other;
			const reader = await openStream(server.url, { channel: 'demo' }, { 'x-user': `user ${n}` });
			// Whoever was refused in the same moment is told in its stream.
			await reader.when(() =>
				reader.frames.some(({ event, data }) => {
					const { fatal } = data as { fatal?: boolean };
					return (event as string) === 'presence' || fatal === true;
				})
			);
			return reader;
		})
	);
	const stays: unknown[] = [];
	for (const comer of comers) {
		if (comer.status === 'rejected') expect(String(comer.reason)).toMatch(/409 .*3 members/);
		else if (comer.value.health().at(-1)?.fatal) {
			expect(comer.value.health().at(-1)).toMatchObject({ code: 409, stage: 'admission' });
			expect(comer.value.health().at(-1)!.detail).toContain('3 members');
		} else stays.push(comer.value);
	}
	expect(stays).toHaveLength(3);
	expect(await one.realtime.members(demoChannel)).toHaveLength(3);
	expect(people.hooks.filter((hook) => hook.startsWith('full'))).toHaveLength(13);
});

describe('a process whose registry has no hook', () => {
	test('leaves the members of a process that died to one that has it', async () => {
		const quick = { heartbeatMs: 200, presence: { graceMs: 0 } };
		const dying = await people.start(quick);
		const alice = await dying.watch('alice');
		await alice.shows(['alice']);
		const without = await people.start({
			heartbeatMs: 50,
			channels: {
				other: { channel: demoChannel, source: false, authorize: () => true, presence: {} }
			} as never
		});
		await openStream(without.server.url, { channel: 'demo' }, { 'x-user': 'zoe' });
		const with_ = await people.start({ ...quick, heartbeatMs: 30_000 });
		const bob = await with_.watch('bob');
		await bob.shows(['alice', 'bob']);
		dying.kill();
		await bob.shows(['bob']);
		await eventually(() => with_.hooks.includes('leave alice'));
		expect(with_.hooks.filter((hook) => hook === 'leave alice')).toHaveLength(1);
	});
});
