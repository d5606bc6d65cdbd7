import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { demo, user } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';

let client: Client;

beforeEach(() => {
	vi.useFakeTimers();
	// The upper end of every random delay.
	vi.spyOn(Math, 'random').mockReturnValue(1);
	client = new Client();
});
afterEach(() => {
	client.bus.close();
	expect(vi.getTimerCount()).toBe(0);
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

/** Milliseconds until the next request. */
async function delayOfNext(limitMs = 120_000): Promise<number> {
	const before = client.endpoint.streams.length;
	for (let ms = 0; ms <= limitMs; ms += 10) {
		if (client.endpoint.streams.length > before) return ms;
		await settle(10);
	}
	return Infinity;
}

describe('a network fault', () => {
	test('is tried again after delays that double up to the highest', async () => {
		await client.set({ reconnect: { minDelayMs: 100, maxDelayMs: 500 } });
		await client.subscribe({ channel: demo });
		const delays: number[] = [];
		for (let i = 0; i < 5; i++) {
			client.endpoint.last.fail();
			await settle();
			delays.push(await delayOfNext());
		}
		expect(delays).toEqual([100, 200, 400, 500, 500]);
	});

	test('waits a random part of the delay', async () => {
		vi.mocked(Math.random).mockReturnValue(0.25);
		await client.subscribe({ channel: demo });
		client.endpoint.last.fail();
		await settle();
		expect(await delayOfNext()).toBe(130);
	});

	test('shows as connecting, with the reason and when it is tried again', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept();
		await settle();
		expect(client.health('demo')).toMatchObject({ ok: true, status: 'connected' });
		client.endpoint.last.fail('cable cut');
		await settle();
		expect(client.health('demo')).toMatchObject({
			ok: false,
			status: 'connecting',
			detail: 'The realtime connection failed (cable cut). Trying again in 0.5 s.'
		});
		expect(client.failures).toMatchObject([{ source: 'stream', channelId: 'demo' }]);
	});

	test('keeps the last values', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept().message('demo', 'count', 5, 'e-1');
		await settle();
		client.endpoint.last.fail();
		await settle();
		expect(client.state('demo').last?.data).toBe(5);
	});

	test('starts the delays over after a stable minute, not before', async () => {
		await client.set({ reconnect: { minDelayMs: 100 } });
		await client.subscribe({ channel: demo });
		client.endpoint.last.fail();
		await settle(100);
		client.endpoint.last.fail();
		await settle(200);
		client.endpoint.last.accept();
		await settle(59_000);
		client.endpoint.last.fail();
		await settle();
		expect(await delayOfNext()).toBe(400);
		client.endpoint.last.accept();
		await settle(60_000);
		client.endpoint.last.fail();
		await settle();
		expect(await delayOfNext()).toBe(100);
	});

	test('a request without an answer fails after 30 seconds', async () => {
		await client.subscribe({ channel: demo });
		await settle(29_999);
		expect(client.endpoint.last.aborted).toBe(false);
		await settle(1);
		expect(client.endpoint.streams[0]?.aborted).toBe(true);
		expect(client.failures).toMatchObject([{ source: 'request' }]);
		expect(await delayOfNext()).toBe(500);
	});
});

describe('what the server says about when', () => {
	test('its retry: field takes the place of the first delay', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept().write('retry: 3000\n\n');
		await settle();
		client.endpoint.last.fail();
		await settle();
		expect(await delayOfNext()).toBe(3000);
	});

	test.each([
		['retry: 0', {}, 'retry: 0\n\n'],
		['minDelayMs: 0', { minDelayMs: 0 }, ':\n\n']
	])('%s does not mean without end', async (_name, reconnect, text) => {
		await client.set({ reconnect });
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept('e-1').write(text);
		await settle();
		client.endpoint.onRequest = (stream) => setTimeout(() => stream.fail(), 5);
		client.endpoint.last.fail();
		await settle(10_000);
		expect(client.endpoint.streams.length).toBeLessThan(30);
	});

	test('a clock that is set back delays nothing', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.fail();
		await settle(1_000);
		client.endpoint.last.accept('e-1');
		await settle(5_000);
		vi.setSystemTime(Date.now() - 3_600_000);
		await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
		expect(client.endpoint.streams).toHaveLength(3);
		client.endpoint.last.accept('e-1');
		await settle(5_000);
		client.endpoint.last.end();
		await settle(1_000);
		expect(client.endpoint.streams).toHaveLength(4);
	});

	test.each([408, 429, 500, 502, 503])('%i is tried again', async (status) => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(status, 'Too busy');
		await settle();
		expect(client.health('demo')).toMatchObject({ status: 'connecting' });
		expect(client.health('demo').detail).toContain('Too busy');
		expect(client.failures).toMatchObject([{ source: 'request', status, fatal: false }]);
		expect(await delayOfNext()).toBe(500);
	});

	test('Retry-After is waited for, whether seconds or a date', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(429, 'Slow down', { 'retry-after': '7' });
		await settle();
		expect(await delayOfNext()).toBe(7000);
		const date = new Date(Date.now() + 20_000).toUTCString();
		client.endpoint.last.refuse(503, 'Down', { 'retry-after': date });
		await settle();
		expect(await delayOfNext()).toBeGreaterThan(18_500);
	});

	test('a page that is shown does not shorten Retry-After', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(429, 'Slow down', { 'retry-after': '7' });
		await settle();
		client.page.show(true);
		client.page.tell('online');
		await settle();
		expect(client.endpoint.streams).toHaveLength(1);
		expect(await delayOfNext()).toBe(7000);
	});
});

describe('a refusal', () => {
	test.each([400, 401, 403, 404, 413])('%i is not tried again', async (status) => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(status, 'Not for you');
		await settle();
		expect(client.health('demo')).toMatchObject({
			ok: false,
			status: 'degraded',
			fatal: true,
			code: status,
			detail: 'Not for you'
		});
		expect(client.failures).toEqual([
			{ source: 'request', message: 'Not for you', channelId: 'demo', status, fatal: true }
		]);
		client.page.tell('online');
		client.page.show(true);
		expect(await delayOfNext()).toBe(Infinity);
	});

	test('an answer that is no stream is one', async () => {
		await client.set({
			fetch: async () => new Response('<html>', { headers: { 'content-type': 'text/html' } })
		});
		await client.subscribe({ channel: demo });
		expect(client.health('demo')).toMatchObject({ status: 'degraded', fatal: true, code: 200 });
		expect(client.health('demo').detail).toContain('text/html');
	});

	test('is tried again when the subscriptions change', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(403, 'Not for you');
		await settle();
		await client.subscribe({ channel: demo, params: { token: 'new' } });
		await settle(250);
		expect(client.endpoint.streams).toHaveLength(2);
		expect(client.endpoint.last.body.params).toEqual({ token: 'new' });
	});

	test('is tried again by reconnect()', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(403, 'Not for you');
		await settle();
		client.bus.reconnect();
		client.endpoint.last.accept();
		await settle();
		expect(client.health('demo').status).toBe('connected');
	});
});

describe('a refusal that comes too late', () => {
	const scoped = (scope: string) => ({ channel: demo, params: { scope } });

	test('refuses nothing that was asked for since', async () => {
		await client.subscribe(scoped('a'));
		client.endpoint.last.accept('e-1');
		await settle(1_000);
		await client.subscribe(scoped('forbidden'));
		const overtaken = client.endpoint.last;
		await settle(300);
		await client.subscribe(scoped('c'));
		overtaken.refuse(403, 'Not for you');
		await settle(10_000);
		expect(client.endpoint.last.body.params).toEqual({ scope: 'c' });
		expect(client.health('demo').status).not.toBe('degraded');
	});

	test('refuses no other endpoint', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept('e-1');
		await settle(1_000);
		await client.set({ endpoint: '/wrong' });
		const overtaken = client.endpoint.last;
		await client.set({ endpoint: '/right' });
		overtaken.refuse(404, 'Not found');
		await settle(10_000);
		expect(client.endpoint.last.url).toBe('/right');
	});

	test('does not end a channel of a stream whose subscription has changed since', async () => {
		await client.subscribe(scoped('a'), { channel: user, channelParams: 'a' });
		const stream = client.endpoint.last.accept('e-1');
		await settle();
		await client.subscribe(scoped('c'), { channel: user, channelParams: 'a' });
		stream.health('demo', 'degraded', { code: 403, fatal: true });
		await settle(10_000);
		expect(client.endpoint.last.subscriptions[0]?.params).toEqual({ scope: 'c' });
	});

	test('does not undo a reconnect()', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept('e-1');
		await settle(1_000);
		await client.subscribe(scoped('a'));
		const overtaken = client.endpoint.last;
		// The user has logged in.
		client.bus.reconnect();
		overtaken.refuse(401, 'Log in');
		await settle(10_000);
		expect(client.endpoint.streams.length).toBeGreaterThan(2);
	});

	test('does not undo a reconnect() that its own report led to', async () => {
		let failures = 0;
		await client.set({
			onFailure: () => {
				if (failures++ === 0) client.bus.reconnect();
			}
		});
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(401, 'Log in');
		await settle(1_000);
		expect(client.endpoint.open).toHaveLength(1);
		client.endpoint.last.accept('e-1');
		await settle();
		expect(client.health('demo').status).toBe('connected');
	});
});

describe('a stream that ends without a final event', () => {
	test('is resumed at once', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept('e-3');
		await settle();
		client.endpoint.last.end();
		await settle();
		expect(client.endpoint.streams).toHaveLength(2);
		expect(client.endpoint.last.body.lastEventId).toBe('e-3');
		expect(client.failures).toEqual([]);
	});

	test('backs off when that repeats without a message', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept();
		await settle();
		client.endpoint.last.end();
		await settle();
		expect(client.endpoint.streams).toHaveLength(2);
		client.endpoint.last.accept();
		await settle();
		client.endpoint.last.end();
		await settle();
		expect(await delayOfNext()).toBe(500);
	});

	test('backs off when each brings a message and ends at once', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.onRequest = (stream) => {
			stream.open().message('demo', 'count', client.endpoint.streams.length);
			setTimeout(() => stream.end(), 5);
		};
		client.endpoint.last.fail();
		await settle(10_000);
		expect(client.endpoint.streams.length).toBeLessThan(10);
	});

	test('does not back off while messages come', async () => {
		await client.subscribe({ channel: demo });
		for (let i = 1; i <= 4; i++) {
			client.endpoint.last.accept().message('demo', 'count', i, `e-${i}`);
			await settle(1_000);
			client.endpoint.last.end();
			await settle();
			expect(client.endpoint.streams).toHaveLength(i + 1);
		}
		expect(client.heard.demo).toEqual([1, 2, 3, 4]);
	});
});

describe('silence', () => {
	test('of two and a half intervals ends the stream, which is tried again', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept(undefined, 10_000);
		await settle(20_000);
		client.endpoint.last.write(': still here\n\n');
		await settle(24_990);
		expect(client.endpoint.last.aborted).toBe(false);
		await settle(10);
		expect(client.endpoint.last.aborted).toBe(true);
		expect(client.health('demo').detail).toContain('silent');
		expect(await delayOfNext()).toBe(500);
	});

	test('after the headers is noticed by one who knows the interval from before', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept('e-1', 10_000);
		await settle(1_000);
		client.endpoint.last.fail();
		await settle(1_000);
		const silent = client.endpoint.last.open();
		await settle(25_000);
		expect(silent.aborted).toBe(true);
	});

	test('is no reason where the server names no interval', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept();
		await settle(600_000);
		expect(client.endpoint.last.aborted).toBe(false);
	});
});

describe('reconnect: false', () => {
	test('leaves a lost stream until reconnect()', async () => {
		await client.set({ reconnect: false });
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept();
		await settle();
		client.endpoint.last.fail('cable cut');
		await settle();
		expect(client.health('demo')).toMatchObject({ ok: false, status: 'degraded' });
		expect(client.health('demo').detail).toContain('cable cut');
		expect(await delayOfNext()).toBe(Infinity);
		client.bus.reconnect();
		await settle();
		expect(client.endpoint.streams).toHaveLength(2);
	});

	test('tries a replacement again, with delays, while the old stream goes on', async () => {
		await client.set({ reconnect: false });
		const alice = { channel: user, channelParams: 'a' };
		await client.subscribe({ channel: demo }, alice);
		const first = client.endpoint.last.accept('e-1');
		await settle(1_000);
		await client.subscribe({ channel: demo, topics: ['count'] }, alice);
		client.endpoint.last.refuse(503, 'Down');
		await settle();
		expect(await delayOfNext()).toBe(500);
		expect(first.aborted).toBe(false);
		client.endpoint.last.accept();
		await settle();
		expect(first.aborted).toBe(true);
		expect(client.health('demo').status).toBe('connected');
	});
});

describe('a channel that the server ends', () => {
	test('is not tried again when that is final, and others go on', async () => {
		await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
		const stream = client.endpoint.last.accept('e-1');
		stream.health('user:a', 'degraded', {
			detail: 'Not yours',
			code: 403,
			stage: 'authorization',
			fatal: true
		});
		stream.message('demo', 'count', 1, 'e-2');
		await settle();
		expect(client.health('user:a')).toMatchObject({ status: 'degraded', fatal: true });
		expect(client.health('demo').status).toBe('connected');
		expect(client.heard.demo).toEqual([1]);
		expect(client.failures).toEqual([
			{
				source: 'stream',
				message: 'Not yours',
				channelId: 'user:a',
				status: 403,
				stage: 'authorization',
				fatal: true
			}
		]);
		expect(await delayOfNext()).toBe(Infinity);
		expect(client.endpoint.open).toHaveLength(1);
	});

	test('ends the stream when it was its last', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept().health('demo', 'degraded', { detail: 'No', fatal: true });
		await settle();
		expect(client.endpoint.open).toHaveLength(0);
		expect(client.health('demo')).toMatchObject({ status: 'degraded', detail: 'No' });
		expect(await delayOfNext()).toBe(Infinity);
	});

	test('is tried again after a while when that is not final, keeping its text', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept('e-4').health('demo', 'degraded', { detail: 'Upstream is away' });
		client.endpoint.last.end();
		await settle();
		expect(client.health('demo')).toMatchObject({ ok: false, detail: 'Upstream is away' });
		expect(await delayOfNext()).toBe(500);
		expect(client.endpoint.last.body.lastEventId).toBe('e-4');
		client.endpoint.last.accept();
		await settle();
		expect(client.health('demo').status).toBe('connected');
	});

	test('returns over a new stream while the others keep theirs', async () => {
		await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
		const first = client.endpoint.last.accept('e-1');
		first.health('user:a', 'degraded', { detail: 'Upstream is away' });
		await settle();
		expect(await delayOfNext()).toBe(500);
		expect(first.aborted).toBe(false);
		expect(client.endpoint.last.subscriptions).toHaveLength(2);
		client.endpoint.last.accept('e-1');
		await settle();
		expect(first.aborted).toBe(true);
		expect(client.healths.demo).toEqual(['connecting', 'connected', 'connected']);
		expect(client.health('user:a').status).toBe('connected');
	});

	test('counts as one failure with the others that end at the same time', async () => {
		const people = Array.from({ length: 8 }, (_, n) => ({ channel: user, channelParams: `${n}` }));
		await client.subscribe(...people);
		const stream = client.endpoint.last.open();
		for (const n of people.keys()) stream.health(`user:${n}`, 'degraded', { code: 503 });
		stream.end();
		await settle();
		expect(await delayOfNext()).toBe(500);
	});

	test('does not keep the others waiting when the stream is cut', async () => {
		await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
		for (let failures = 0; failures < 5; failures++) {
			client.endpoint.last.accept('e-1').health('user:a', 'degraded', { code: 503 });
			await settle();
			await delayOfNext();
		}
		const stream = client.endpoint.last.accept('e-1');
		stream.health('user:a', 'degraded', { code: 503 }).message('demo', 'count', 1, 'e-2');
		await settle();
		const requests = client.endpoint.streams.length;
		stream.end();
		await settle();
		expect(client.endpoint.streams).toHaveLength(requests + 1);
	});
});

test('a quiet stream that is cut every 30 s resumes at once each time', async () => {
	await client.subscribe({ channel: demo });
	for (let cuts = 0; cuts < 4; cuts++) {
		client.endpoint.last.accept('e-1');
		await settle(30_000);
		client.endpoint.last.end();
		await settle();
		expect(client.endpoint.streams).toHaveLength(cuts + 2);
	}
});

test.each([
	['reconnect()', () => client.bus.reconnect()],
	['a network that is back', () => client.page.tell('online')]
])('%s gives up a first request that hangs', async (_name, renew) => {
	await client.subscribe({ channel: demo });
	const [hanging] = client.endpoint.streams;
	await settle(5_000);
	renew();
	await settle();
	expect(hanging?.aborted).toBe(true);
	expect(client.endpoint.streams).toHaveLength(2);
});

describe('a channel that is left alone', () => {
	const alice = { channel: user, channelParams: 'a' };
	const expectLeft = async (others: string[]) => {
		await settle(1_000);
		client.endpoint.last.accept('e-1');
		await settle(60_000);
		expect(client.endpoint.last.subscriptions.map(({ channel }) => channel)).toEqual(others);
		expect(client.health('demo')).toMatchObject({ status: 'degraded', detail: 'Over.' });
	};

	test('is not shown as connected by the stream that still has it', async () => {
		await client.subscribe({ channel: demo }, alice);
		const stream = client.endpoint.last.accept('e-1');
		await settle(1_000);
		client.bus.finish('demo', 'Over.');
		await settle();
		stream.health('demo', 'connected', { cursor: 'e-1' });
		await expectLeft(['user:a']);
	});

	test('resumes where it was left when it is wanted again at once', async () => {
		await client.subscribe({ channel: demo }, alice);
		const stream = client.endpoint.last.accept('e-1');
		await settle();
		client.bus.finish('demo', 'Over.');
		stream.message('demo', 'count', 1, 'e-2');
		await settle();
		client.bus.reconnect();
		stream.message('demo', 'count', 2, 'e-3');
		await settle(1_000);
		expect(client.endpoint.last.subscriptions[0]?.lastEventId).toBe('e-1');
		client.endpoint.last
			.open()
			.message('demo', 'count', 1, 'e-2')
			.message('demo', 'count', 2, 'e-3');
		await settle();
		expect(client.heard.demo).toEqual([1, 2]);
	});

	test('by a handler is not shown as connected by an endpoint that sends no health', async () => {
		await client.subscribe({ channel: demo });
		client.state('demo').frames.listen(() => client.bus.finish('demo', 'Over.'));
		client.endpoint.last.open().message('demo', 'count', 1);
		await settle(1_000);
		expect(client.endpoint.open).toHaveLength(0);
		expect(client.health('demo')).toMatchObject({ status: 'degraded', detail: 'Over.' });
	});

	test('is not shown as connected by a replacement that was under way', async () => {
		await client.subscribe({ channel: demo }, alice);
		client.endpoint.last.accept('e-1');
		await settle(1_000);
		await client.subscribe({ channel: demo }, alice, { channel: user, channelParams: 'b' });
		const replacement = client.endpoint.last;
		client.bus.finish('demo', 'Over.');
		replacement.accept('e-1');
		await expectLeft(['user:a', 'user:b']);
	});
});
