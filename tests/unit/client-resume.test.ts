import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { demo, user } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';

let client: Client;

beforeEach(() => {
	vi.useFakeTimers();
	client = new Client({ reconnect: { minDelayMs: 0 } });
});
afterEach(() => {
	client.bus.close();
	expect(vi.getTimerCount()).toBe(0);
	vi.useRealTimers();
	vi.unstubAllGlobals();
});

/** Cuts the stream and waits for the next request. */
async function cut(): Promise<void> {
	const before = client.endpoint.streams.length;
	client.endpoint.last.fail();
	await settle(10);
	expect(client.endpoint.streams).toHaveLength(before + 1);
}

test('the cursor of the last message is sent with the next request', async () => {
	await client.subscribe({ channel: demo });
	expect(client.endpoint.last.body).not.toHaveProperty('lastEventId');
	client.endpoint.last.accept('e-1').message('demo', 'count', 1, 'e-7');
	await settle();
	await cut();
	expect(client.endpoint.last.body).toEqual({
		channel: 'demo',
		topics: ['count', 'message'],
		lastEventId: 'e-7'
	});
});

test('each channel of a stream has its own cursor', async () => {
	await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
	client.endpoint.last
		.accept()
		.message('demo', 'count', 1, 'e-7')
		.message('user:a', 'message', { message: '' }, 'f-2');
	await settle();
	await cut();
	expect(client.endpoint.last.body.subscriptions).toMatchObject([
		{ channel: 'demo', lastEventId: 'e-7' },
		{ channel: 'user:a', lastEventId: 'f-2' }
	]);
});

test('connected and tick frames move the cursor of a channel without messages', async () => {
	await client.subscribe({ channel: demo });
	client.endpoint.last.accept('e-4');
	await settle();
	await cut();
	expect(client.endpoint.last.body.lastEventId).toBe('e-4');
	client.endpoint.last.accept('e-4').health('demo', 'connected', { cursor: 'e-90' });
	await settle();
	await cut();
	expect(client.endpoint.last.body.lastEventId).toBe('e-90');
});

test('what repeats an earlier message is dropped', async () => {
	await client.subscribe({ channel: demo });
	client.endpoint.last
		.accept('e-0')
		.message('demo', 'count', 1, 'e-1')
		.message('demo', 'count', 2, 'e-2');
	await settle();
	await cut();
	client.endpoint.last
		.accept('e-2')
		.message('demo', 'count', 1, 'e-1')
		.message('demo', 'count', 2, 'e-2')
		.message('demo', 'count', 3, 'e-3');
	await settle();
	expect(client.heard.demo).toEqual([1, 2, 3]);
});

test('a tick that is late does not move the cursor back', async () => {
	await client.subscribe({ channel: demo });
	client.endpoint.last
		.accept()
		.message('demo', 'count', 9, 'e-9')
		.health('demo', 'connected', { cursor: 'e-5' });
	await settle();
	await cut();
	expect(client.endpoint.last.body.lastEventId).toBe('e-9');
});

test('another epoch is another log: its messages are new', async () => {
	await client.subscribe({ channel: demo });
	client.endpoint.last.accept().message('demo', 'count', 1, 'e-50');
	await settle();
	await cut();
	client.endpoint.last
		.open()
		.health('demo', 'connecting')
		.resync('demo', 'restart', 'f-0')
		.health('demo', 'connected', { cursor: 'f-0' })
		.message('demo', 'count', 2, 'f-1');
	await settle();
	expect(client.heard.demo).toEqual([1, 2]);
	expect(client.resyncs).toMatchObject([{ channel: 'demo', reason: 'restart' }]);
	await cut();
	expect(client.endpoint.last.body.lastEventId).toBe('f-1');
});

test('messages without a cursor are all taken', async () => {
	await client.subscribe({ channel: demo });
	client.endpoint.last.accept().message('demo', 'count', 1).message('demo', 'count', 1);
	await settle();
	expect(client.heard.demo).toEqual([1, 1]);
});

test('a channel that returns to someone who still holds it resumes where it was', async () => {
	await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
	client.endpoint.last.accept('e-3');
	await settle();
	const state = client.state('user:a');
	await client.subscribe({ channel: demo });
	await settle(1000);
	client.endpoint.last.accept();
	await settle();
	expect(state.health).toMatchObject({ ok: false, status: 'degraded' });
	client.bus.state('user:a', state);
	await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
	await settle(1000);
	expect(client.endpoint.last.subscriptions[1]).toMatchObject({ lastEventId: 'e-3' });
	client.endpoint.last.accept();
	await settle();
	expect(state.health.status).toBe('connected');
});

test('a channel that nothing holds is forgotten with its subscription', async () => {
	await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
	client.endpoint.last.accept('e-3');
	await settle();
	const state = client.state('user:a');
	await client.subscribe({ channel: demo });
	await client.subscribe({ channel: demo }, { channel: user, channelParams: 'a' });
	expect(client.state('user:a')).not.toBe(state);
});
