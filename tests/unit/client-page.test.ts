import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { demo } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';

let client: Client;

beforeEach(async () => {
	vi.useFakeTimers();
	vi.spyOn(Math, 'random').mockReturnValue(1);
	client = new Client();
	await client.subscribe({ channel: demo });
});
afterEach(() => {
	client.bus.close();
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

describe('a waiting client', () => {
	test('tries again at once when the network is back', async () => {
		client.endpoint.last.fail();
		await settle();
		client.page.tell('online');
		await settle();
		expect(client.endpoint.streams).toHaveLength(2);
	});

	test('tries again at once when the page is shown', async () => {
		client.endpoint.last.fail();
		await settle();
		client.page.show(false);
		client.page.show(true);
		await settle();
		expect(client.endpoint.streams).toHaveLength(2);
	});
});

describe('a connected client', () => {
	test('replaces its stream when the network is back, without a gap', async () => {
		const first = client.endpoint.last.accept('e-1');
		await settle(1000);
		client.page.tell('online');
		await settle();
		expect(first.aborted).toBe(false);
		expect(client.endpoint.last.body.lastEventId).toBe('e-1');
		client.endpoint.last.accept();
		await settle();
		expect(first.aborted).toBe(true);
		expect(client.health('demo').status).toBe('connected');
	});

	test('replaces a stream that may have died while the machine slept, when the page is shown', async () => {
		const first = client.endpoint.last.accept('e-1', 10_000);
		await settle();
		// Time passes without timers, as it does in sleep.
		vi.setSystemTime(Date.now() + 3_600_000);
		client.page.show(true);
		await settle();
		expect(client.endpoint.streams).toHaveLength(2);
		expect(client.endpoint.last.body.lastEventId).toBe('e-1');
		client.endpoint.last.accept();
		await settle();
		expect(first.aborted).toBe(true);
	});

	test.each([3_600_000, -3_600_000])(
		'keeps a healthy stream when the clock is set by %d ms, and notices a dead one',
		async (ms) => {
			const first = client.endpoint.last.accept('e-1', 10_000);
			await settle(5_000);
			vi.setSystemTime(Date.now() + ms);
			await settle(5_000);
			expect(first.aborted).toBe(false);
			first.health('demo', 'connected', { cursor: 'e-2' });
			await settle(20_000);
			expect(first.aborted).toBe(false);
			await settle(5_000);
			expect(first.aborted).toBe(true);
		}
	);

	test('lets go of its stream when the page is left, and resumes when it returns', async () => {
		const first = client.endpoint.last.accept('e-1');
		await settle();
		client.page.tell('pagehide');
		await settle();
		expect(first.aborted).toBe(true);
		expect(vi.getTimerCount()).toBe(0);
		await settle(100_000);
		expect(client.endpoint.streams).toHaveLength(1);
		client.page.tell('pageshow');
		await settle();
		expect(client.endpoint.last.body.lastEventId).toBe('e-1');
		expect(client.failures).toEqual([]);
	});

	test('does not mind the pageshow of the first load', async () => {
		client.endpoint.last.accept();
		await settle();
		client.page.tell('pageshow');
		await settle();
		expect(client.endpoint.streams).toHaveLength(1);
	});

	test('keeps its stream in a hidden page unless told otherwise', async () => {
		const first = client.endpoint.last.accept();
		client.page.show(false);
		await settle(3_600_000);
		expect(first.aborted).toBe(false);
	});
});

describe('a page that is being left', () => {
	test('reports no failure when its requests end before pagehide', async () => {
		client.endpoint.last.accept('e-1');
		await settle();
		client.page.tell('beforeunload');
		client.endpoint.last.fail();
		await settle(200);
		client.page.tell('pagehide');
		await settle(60_000);
		expect(client.failures).toEqual([]);
		expect(vi.getTimerCount()).toBe(0);
	});

	test('but stays reports it a second later, and has resumed meanwhile', async () => {
		client.endpoint.last.accept('e-1');
		await settle();
		// A download, or a dialog that the user cancelled.
		client.page.tell('beforeunload');
		client.endpoint.last.fail('cable cut');
		await settle(999);
		expect(client.failures).toEqual([]);
		expect(client.endpoint.streams).toHaveLength(2);
		await settle(1);
		expect(client.failures).toMatchObject([{ source: 'stream', channelId: 'demo' }]);
	});

	test('and returns from the back/forward cache reports failures at once again', async () => {
		client.endpoint.last.accept('e-1');
		client.page.tell('beforeunload');
		client.page.tell('pagehide');
		client.page.tell('pageshow');
		await settle();
		client.endpoint.last.fail();
		await settle();
		expect(client.failures).toHaveLength(1);
	});

	test('still reports an answer of the server at once', async () => {
		client.page.tell('beforeunload');
		client.endpoint.last.refuse(403, 'Denied');
		await settle();
		expect(client.failures).toMatchObject([{ status: 403 }]);
	});

	test('leaves no timer when its manager ends', async () => {
		client.page.tell('beforeunload');
		client.endpoint.last.fail();
		await settle();
		client.bus.close();
		expect(vi.getTimerCount()).toBe(0);
	});
});

describe('pauseOnHidden', () => {
	test('lets go of the stream after that time and resumes by cursor when shown', async () => {
		await client.set({ pauseOnHidden: 5000 });
		const first = client.endpoint.last.accept('e-3');
		await settle();
		client.page.show(false);
		await settle(4999);
		expect(first.aborted).toBe(false);
		await settle(1);
		expect(first.aborted).toBe(true);
		expect(client.health('demo')).toMatchObject({ ok: false, status: 'connecting' });
		expect(client.health('demo').detail).toContain('hidden');
		client.page.show(true);
		await settle();
		expect(client.endpoint.last.body.lastEventId).toBe('e-3');
	});

	test('does nothing when the page is shown again in time', async () => {
		await client.set({ pauseOnHidden: 5000 });
		const first = client.endpoint.last.accept();
		await settle();
		client.page.show(false);
		await settle(4000);
		client.page.show(true);
		await settle(10_000);
		expect(first.aborted).toBe(false);
		expect(client.endpoint.streams).toHaveLength(1);
	});

	test('counts from the start for a page that opens hidden', async () => {
		client.page.show(false);
		await client.set({ pauseOnHidden: 100 });
		await settle(100);
		expect(client.endpoint.open).toHaveLength(0);
	});
});

test.each([Infinity, 2 ** 31])('pauseOnHidden={%d} means never', async (pauseOnHidden) => {
	await client.set({ pauseOnHidden });
	client.endpoint.last.accept('e-1');
	client.page.show(false);
	await settle(1_000);
	expect(client.endpoint.open).toHaveLength(1);
});

describe('enabled', () => {
	test('false holds no stream, true resumes', async () => {
		client.endpoint.last.accept('e-2');
		await settle();
		await client.set({ enabled: false });
		expect(client.endpoint.open).toHaveLength(0);
		expect(client.health('demo')).toMatchObject({ ok: false, status: 'connecting' });
		client.page.tell('online');
		client.bus.reconnect();
		await settle(100_000);
		expect(client.endpoint.streams).toHaveLength(1);
		await client.set({ enabled: true });
		expect(client.endpoint.last.body.lastEventId).toBe('e-2');
	});
});

describe('the end', () => {
	test('leaves no stream, timer or listener, whatever was going on', async () => {
		expect(client.page.listeners).toBe(5);
		const state = client.state('demo');
		client.bus.close();
		await settle();
		expect(client.endpoint.open).toHaveLength(0);
		expect(client.page.listeners).toBe(0);
		expect(vi.getTimerCount()).toBe(0);
		expect(state.health).toMatchObject({ ok: false, status: 'degraded' });
	});

	test.each([
		['connected', () => client.endpoint.last.accept(undefined, 1000)],
		['waiting', () => client.endpoint.last.fail()],
		[
			'replacing',
			() => {
				client.endpoint.last.accept('e-1', 1000);
				return settle().then(() => client.subscribe({ channel: demo, topics: ['count'] }));
			}
		]
	])('also ends a client that is %s', async (_name, act) => {
		await act();
		await settle();
		client.bus.close();
		await settle(100_000);
		expect(client.endpoint.open).toHaveLength(0);
		expect(vi.getTimerCount()).toBe(0);
		expect(client.page.listeners).toBe(0);
	});

	test('leaves no timer of a page that waits to be paused', async () => {
		await client.set({ pauseOnHidden: 5_000 });
		client.endpoint.last.accept();
		await settle();
		client.page.show(false);
		expect(vi.getTimerCount()).toBe(1);
		client.bus.close();
		expect(vi.getTimerCount()).toBe(0);
	});

	test('may come of the report of a failure', async () => {
		client.endpoint.last.accept();
		await settle();
		await client.set({ onFailure: () => client.bus.close() });
		client.endpoint.last.fail();
		await settle();
		expect(vi.getTimerCount()).toBe(0);
		expect(client.endpoint.open).toHaveLength(0);
	});

	test('ends everything for good', async () => {
		client.endpoint.last.accept();
		await settle();
		client.bus.close();
		client.bus.reconnect();
		client.page.tell('online');
		await settle(100_000);
		expect(client.endpoint.streams).toHaveLength(1);
	});
});
