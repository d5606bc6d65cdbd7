import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { demo, user } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';

let client: Client;

beforeEach(() => {
	vi.useFakeTimers();
	vi.spyOn(Math, 'random').mockReturnValue(0.5);
	client = new Client();
});
afterEach(() => {
	client.bus.close();
	expect(vi.getTimerCount()).toBe(0);
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

/** Does something every 20 ms for five seconds. @returns the number of requests that came of it. */
async function busyPage(act: (n: number) => void): Promise<number> {
	const before = client.endpoint.streams.length;
	for (let n = 0; n < 250; n++) {
		act(n);
		await settle(20);
	}
	return client.endpoint.streams.length - before;
}
const changeTopics = (n: number): void =>
	client.change({ channel: demo, params: { n } }, { channel: user, channelParams: 'a' });

describe.each([
	['cannot be reached', (): void => client.endpoint.last.fail()],
	['answers 503', (): void => client.endpoint.last.refuse(503)],
	['answers 404', (): void => client.endpoint.last.refuse(404)]
])('while the endpoint %s', (_name, break_) => {
	test('changing subscriptions sends no more requests than a healthy page does', async () => {
		client.endpoint.onRequest = (stream) => stream.accept('e-0');
		await client.subscribe({ channel: demo });
		const healthy = await busyPage(changeTopics);
		expect(healthy).toBeGreaterThan(5);
		client.endpoint.onRequest = () => break_();
		expect(await busyPage(changeTopics)).toBeLessThanOrEqual(healthy);
	});

	test('switching enabled off and on does not either', async () => {
		client.endpoint.onRequest = () => break_();
		await client.subscribe({ channel: demo });
		expect(await busyPage((n) => client.give({ enabled: n % 2 === 0 }))).toBeLessThanOrEqual(20);
	});
});

test('a change shortens a long wait, but leaves a second of it', async () => {
	await client.set({ reconnect: { minDelayMs: 60_000, maxDelayMs: 60_000 } });
	await client.subscribe({ channel: demo });
	client.endpoint.last.fail();
	await settle(100);
	client.change({ channel: demo, topics: ['count'] });
	await settle(890);
	expect(client.endpoint.streams).toHaveLength(1);
	await settle(20);
	expect(client.endpoint.streams).toHaveLength(2);
	expect(client.endpoint.last.body.topics).toEqual(['count']);
});

test('an app that reconnects with every failure makes no storm of requests', async () => {
	await client.set({ onFailure: () => client.bus.reconnect() });
	client.endpoint.onRequest = (stream) => stream.fail();
	await client.subscribe({ channel: demo });
	await settle(5_000);
	expect(client.endpoint.streams.length).toBeLessThanOrEqual(50);
});

test('streams that end after one message each are reopened at once a few times, then ever later', async () => {
	client.endpoint.onRequest = (stream, index) => {
		stream.accept(`e-${index}`).message('demo', 'count', index, `e-${index + 1}`);
		setTimeout(() => stream.end(), 300);
	};
	await client.subscribe({ channel: demo });
	await settle(1_000);
	expect(client.endpoint.streams.length).toBeGreaterThanOrEqual(4);
	await settle(60_000);
	expect(client.endpoint.streams.length).toBeLessThan(20);
	expect(client.heard.demo).toEqual(
		client.endpoint.streams.map((_, index) => index).slice(0, client.heard.demo?.length)
	);
});

describe('Retry-After', () => {
	async function delayAfter(headers: Record<string, string>): Promise<number> {
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(503, 'Down', headers);
		await settle();
		const start = Date.now();
		while (client.endpoint.streams.length === 1 && Date.now() - start < 5_000_000) {
			await settle(500);
		}
		return Date.now() - start;
	}

	test('is followed for an hour at most', async () => {
		const delay = await delayAfter({ 'retry-after': '86400' });
		expect(delay).toBeGreaterThan(3_590_000);
		expect(delay).toBeLessThan(3_610_000);
	});

	test('as a date is measured by the clock of the server', async () => {
		const server = Date.now() - 7_200_000;
		const delay = await delayAfter({
			date: new Date(server).toUTCString(),
			'retry-after': new Date(server + 20_000).toUTCString()
		});
		expect(delay).toBeGreaterThan(18_000);
		expect(delay).toBeLessThan(22_000);
	});

	test('of a past date is no reason to wait', async () => {
		const past = new Date(Date.now() - 60_000).toUTCString();
		expect(await delayAfter({ 'retry-after': past })).toBeLessThanOrEqual(1_000);
	});

	test('of one stream is not forgotten when another ends', async () => {
		const alice = { channel: user, channelParams: 'a' };
		await client.subscribe({ channel: demo });
		const old = client.endpoint.last.accept('e-0');
		await settle(6_000);
		await client.subscribe({ channel: demo }, alice);
		client.endpoint.last.refuse(503, 'Down', { 'retry-after': '30' });
		await settle(1_000);
		old.end();
		await settle(28_000);
		expect(client.endpoint.streams).toHaveLength(2);
		await settle(1_500);
		expect(client.endpoint.streams).toHaveLength(3);
	});
});

describe('a delay that no timer takes', () => {
	test('of reconnecting is waited for', async () => {
		const timers = vi.spyOn(globalThis, 'setTimeout');
		await client.set({ reconnect: { minDelayMs: 2 ** 33, maxDelayMs: 2 ** 33 } });
		await client.subscribe({ channel: demo });
		client.endpoint.last.fail();
		await settle(60_000);
		expect(client.endpoint.streams).toHaveLength(1);
		expect(timers.mock.calls.every(([, ms = 0]) => ms < 2 ** 31)).toBe(true);
	});

	test('of silence is waited for', async () => {
		await client.subscribe({ channel: demo });
		client.endpoint.last.accept('e-0', 2 ** 32);
		await settle();
		const timers = vi.spyOn(globalThis, 'setTimeout');
		client.endpoint.last.health('demo', 'connecting', { intervalMs: 2 ** 32 });
		await settle(60_000);
		expect(timers.mock.calls.filter(([, ms = 0]) => ms >= 2 ** 31)).toEqual([]);
		expect(client.endpoint.last.aborted).toBe(false);
	});
});
