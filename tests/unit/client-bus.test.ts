import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { demo, user } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';

let client: Client;
const alice = { channel: user, channelParams: 'alice' };

beforeEach(async () => {
	vi.useFakeTimers();
	client = new Client();
	await client.subscribe({ channel: demo });
	client.endpoint.last.accept('e-0');
	await settle(1_000);
});
afterEach(() => {
	client.bus.close();
	expect(vi.getTimerCount()).toBe(0);
	vi.useRealTimers();
	vi.unstubAllGlobals();
});

const names = (): string[] => client.bus.subscriptions.map(({ channelId }) => channelId);

describe('subscribe', () => {
	test('adds a channel to the stream that is there, and takes it off again', async () => {
		const stop = client.bus.subscribe(alice);
		await settle();
		expect(names()).toEqual(['demo', 'user:alice']);
		const stream = client.endpoint.last.accept('e-0');
		expect(stream.subscriptions.map(({ channel }) => channel)).toEqual(['demo', 'user:alice']);
		await settle(1_000);
		expect(client.endpoint.open).toHaveLength(1);
		expect(client.health('user:alice').status).toBe('connected');
		stop();
		stop();
		await settle(1_000);
		client.endpoint.last.accept('e-0');
		await settle();
		expect(names()).toEqual(['demo']);
		expect(client.endpoint.last.body.channel).toBe('demo');
	});

	test('keeps it through changes of the manager', async () => {
		client.bus.subscribe({ ...alice, since: 'f-3' });
		await settle();
		expect(client.endpoint.last.subscriptions[1]).toMatchObject({ since: 'f-3' });
		await client.subscribe({ channel: user, channelParams: 'bob' });
		expect(names()).toEqual(['user:bob', 'user:alice']);
	});

	test('several times keeps it until all have stopped', async () => {
		const first = client.bus.subscribe(alice);
		const second = client.bus.subscribe(alice);
		first();
		first();
		expect(names()).toEqual(['demo', 'user:alice']);
		second();
		expect(names()).toEqual(['demo']);
	});

	test('of a channel of the manager opens no stream, and keeps it when the manager drops it', async () => {
		const stop = client.bus.subscribe({ channel: demo });
		await settle(1_000);
		expect(client.endpoint.streams).toHaveLength(1);
		await client.subscribe(alice);
		expect(names()).toEqual(['user:alice', 'demo']);
		stop();
		expect(names()).toEqual(['user:alice']);
	});

	test('with other topics or params throws, and says so', () => {
		const error = expect.objectContaining({
			code: 'DUPLICATE_CHANNEL',
			message:
				'Realtime channel "demo" is subscribed already, with other topics or params. Merge the subscriptions into one.'
		});
		expect(() => client.bus.subscribe({ channel: demo, topics: ['count'] })).toThrowError(error);
		expect(() => client.bus.subscribe({ channel: demo, params: { a: 1 } })).toThrowError(error);
		client.bus.subscribe(alice);
		expect(() => client.bus.subscribe({ ...alice, run: true })).toThrowError(
			expect.objectContaining({ code: 'DUPLICATE_CHANNEL' })
		);
		expect(names()).toEqual(['demo', 'user:alice']);
	});

	test('before the manager is mounted waits for it', async () => {
		const other = new Client();
		other.bus.subscribe(alice);
		await other.subscribe({ channel: demo });
		expect(other.endpoint.streams).toHaveLength(1);
		expect(other.endpoint.last.subscriptions).toHaveLength(2);
		other.bus.close();
	});

	test('after the end of the manager does nothing', async () => {
		client.bus.close();
		client.bus.subscribe(alice)();
		await settle(1_000);
		expect(client.endpoint.streams).toHaveLength(1);
	});
});

describe('status', () => {
	const status = () => client.bus.status.current;

	test('is connected when every channel is', async () => {
		expect(status()).toEqual({ status: 'connected' });
		client.bus.subscribe(alice);
		expect(status()).toEqual({ status: 'connecting' });
		await settle();
		client.endpoint.last.accept('e-0');
		await settle();
		expect(status()).toEqual({ status: 'connected' });
	});

	test('is degraded when a channel has failed, whatever the others do', async () => {
		client.bus.subscribe(alice);
		await settle();
		client.endpoint.last.open().health('demo', 'connecting');
		client.endpoint.last.health('user:alice', 'degraded', { fatal: true, code: 403 });
		await settle();
		expect(status()).toEqual({ status: 'degraded' });
	});

	test('names why it is paused', async () => {
		await client.set({ enabled: false });
		expect(status()).toEqual({ status: 'paused', reason: 'disabled' });
		await client.set({ enabled: true, pauseOnHidden: 1_000 });
		expect(status().status).toBe('connecting');
		client.page.show(false);
		await settle(1_000);
		expect(status()).toEqual({ status: 'paused', reason: 'hidden' });
		client.page.show(true);
		await settle();
		client.endpoint.last.accept('e-0');
		await settle();
		expect(status()).toEqual({ status: 'connected' });
		await client.subscribe();
		expect(status()).toEqual({ status: 'paused', reason: 'empty' });
		await client.subscribe({ channel: demo });
		client.bus.close();
		expect(status()).toEqual({ status: 'paused', reason: 'closed' });
	});
});
