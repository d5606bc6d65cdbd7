import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { MemoryRateLimitStore } from '../../src/lib/server/backend/memoryRateLimit.js';
import { demoChannel } from '../support/channels.js';
import { People, type Instance } from '../support/people.js';
import { eventually } from '../support/wait.js';

let people = new People();
afterEach(async () => {
	await people.close();
	people = new People();
});

const schema = z.object({ x: z.number() }).partial();

async function open({ server }: Instance, user?: string): Promise<Response> {
	const response = await fetch(server.url, {
		method: 'POST',
		headers: { 'content-type': 'application/json', ...(user && { 'x-user': user }) },
		body: JSON.stringify({ channel: 'demo' })
	});
	await response.body?.cancel();
	return response;
}

test('streams of one sender are counted over all processes, others are not', async () => {
	const options = { limits: { rate: { points: 3, intervalMs: 60_000 } } };
	const [one, other] = [await people.start(options), await people.start(options)];
	const statuses = [];
	for (const instance of [one, other, one, other])
		statuses.push((await open(instance, 'alice')).status);
	expect(statuses).toEqual([200, 200, 200, 429]);
	const refused = await open(one, 'alice');
	expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(10);
	expect((await open(one, 'bob')).status).toBe(200);
	// Without a name it is the address that counts.
	for (let n = 0; n < 3; n++) expect((await open(one)).status).toBe(200);
	expect((await open(other)).status).toBe(429);
});

test('while the backend is unavailable each process counts by itself', async () => {
	const one = await people.start({ limits: { rate: { points: 2, intervalMs: 60_000 } } });
	people.server.stop();
	const statuses = [];
	for (let n = 0; n < 3; n++) statuses.push((await open(one, 'alice')).status);
	expect(statuses).toEqual([200, 200, 429]);
});

test('updates are counted apart from streams, by their cost', async () => {
	const one = await people.start({
		limits: { rate: { points: 4, intervalMs: 60_000 } },
		presence: { schema, cost: 2 }
	});
	const alice = await one.watch('alice');
	const statuses = [];
	for (let x = 0; x < 3; x++) statuses.push((await alice.send({ data: { x } })).status);
	expect(statuses).toEqual([204, 204, 429]);
	// A sign of life costs nothing.
	expect((await alice.send({})).status).toBe(204);
	expect((await open(one, 'alice')).status).toBe(200);
});

test('an update that reaches another process than its stream costs as much', async () => {
	const options = {
		limits: { rate: { points: 3, intervalMs: 60_000 } },
		presence: { schema, cost: 0 }
	};
	const [one, other] = [await people.start(options), await people.start(options)];
	const alice = await one.watch('alice');
	for (let x = 0; x < 10; x++) {
		expect((await alice.send({ data: { x } }, 'alice', other.server.url)).status).toBe(204);
	}
	// Whoever guesses pays for it.
	const statuses = [];
	for (let n = 0; n < 5; n++) {
		statuses.push(
			(await alice.send({ stream: `guess ${n}`, data: {} }, 'mallory', other.server.url)).status
		);
	}
	expect(statuses).toEqual([403, 403, 403, 429, 429]);
});

test('answers are counted too', async () => {
	const one = await people.start({ limits: { rate: { points: 2, intervalMs: 60_000 } } });
	const statuses = [];
	for (let n = 0; n < 3; n++) {
		const response = await fetch(one.server.url, {
			method: 'POST',
			headers: { 'content-type': 'application/json', 'x-user': 'alice' },
			body: JSON.stringify({ answer: { id: 'guess', data: null } })
		});
		statuses.push(response.status);
		if (response.status === 429)
			expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(10);
	}
	expect(statuses).toEqual([204, 204, 429]);
});

test('a key of the app', async () => {
	const one = await people.start({
		limits: {
			rate: {
				points: 1,
				intervalMs: 60_000,
				key: ({ request }) => request.headers.get('x-user')![0]!
			}
		}
	});
	expect((await open(one, 'alice')).status).toBe(200);
	expect((await open(one, 'anna')).status).toBe(429);
	expect((await open(one, 'bob')).status).toBe(200);
});

describe.each([true, false])('a ban, with a backend: %s', (isShared) => {
	test('ends open streams in every process and refuses new ones, until it is lifted', async () => {
		const one = await people.start({ isShared });
		const other = isShared ? await people.start() : one;
		const alice = await other.watch('alice');
		const bob = await one.watch('bob');
		await one.realtime.ban('alice', 60_000);
		await alice.reader.end();
		await bob.shows(['bob'], 1_000);
		for (const instance of [one, other]) {
			const refused = await open(instance, 'alice');
			expect(refused.status).toBe(429);
			expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(50);
		}
		expect((await open(other, 'bob')).status).toBe(200);
		await other.realtime.unban('alice');
		await eventually(async () => (await open(other, 'alice')).status === 200);
	});
});

test('recheck asks about one reader or all, in every process', async () => {
	const denied = new Set<string>();
	const authorize = ({ request }: { request: Request }): boolean =>
		!denied.has(request.headers.get('x-user') ?? '');
	const [one, other] = [await people.start({ authorize }), await people.start({ authorize })];
	const alice = await other.watch('alice');
	const bob = await other.watch('bob');
	const carol = await one.watch('carol');
	denied.add('alice').add('bob');
	await one.realtime.recheck('alice');
	await alice.reader.end();
	expect(bob.reader.ended).toBe(false);
	await one.realtime.recheck();
	await bob.reader.end();
	await carol.shows(['carol'], 1_000);
	expect(carol.reader.ended).toBe(false);
});

test('a stream of an anonymous reader comes back after a recheck, because it does not keep its request', async () => {
	const one = await people.start({ identify: () => null, presence: undefined! });
	const reader = await one.open({ channel: 'demo' });
	await reader.connected();
	await one.realtime.recheck();
	expect(await one.realtime.readers(demoChannel)).toBeLessThanOrEqual(1);
});

describe('token buckets', () => {
	test('tokens come back with time', async () => {
		const store = new MemoryRateLimitStore();
		const rule = { points: 2, intervalMs: 200 };
		expect((await store.take('a', 2, rule)).isAllowed).toBe(true);
		const { isAllowed, retryAfterMs } = await store.take('a', 1, rule);
		expect([isAllowed, retryAfterMs > 50 && retryAfterMs <= 100]).toEqual([false, true]);
		await new Promise((resolve) => setTimeout(resolve, retryAfterMs + 5));
		expect((await store.take('a', 1, rule)).isAllowed).toBe(true);
		expect((await store.take('a', 1, rule)).isAllowed).toBe(false);
	});

	test('`blockMs` keeps an offender out for longer', async () => {
		const store = new MemoryRateLimitStore();
		const rule = { points: 1, intervalMs: 10, blockMs: 60_000 };
		await store.take('a', 1, rule);
		expect(await store.take('a', 1, rule)).toEqual({ isAllowed: false, retryAfterMs: 60_000 });
		await new Promise((resolve) => setTimeout(resolve, 20));
		expect((await store.take('a', 1, rule)).isAllowed).toBe(false);
	});

	test('100,000 keys take no more memory than 10,000', async () => {
		const store = new MemoryRateLimitStore();
		const rule = { points: 1, intervalMs: 60_000, blockMs: 60_000 };
		for (let n = 0; n < 100_000; n++) {
			await store.take(`key ${n}`, 1, rule);
			if (n % 2 === 0) await store.take(`key ${n}`, 1, rule);
		}
		expect(store.size).toBeLessThanOrEqual(20_000);
	});

	test('a flood of keys neither grows without end nor lets a blocked key in', async () => {
		const store = new MemoryRateLimitStore(100);
		await store.block('bad', 60_000);
		const rule = { points: 1, intervalMs: 60_000 };
		for (let n = 0; n < 10_000; n++) await store.take(`key ${n}`, 1, rule);
		expect(store.size).toBeLessThanOrEqual(101);
		expect((await store.take('bad', 0, rule)).isAllowed).toBe(false);
	});
});
