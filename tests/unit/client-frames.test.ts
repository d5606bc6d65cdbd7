import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { demo, user } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';

let client: Client;

beforeEach(async () => {
	vi.useFakeTimers();
	client = new Client();
	await client.subscribe({ channel: demo });
	client.endpoint.last.accept();
	await settle();
});
afterEach(() => {
	client.bus.close();
	vi.useRealTimers();
	vi.unstubAllGlobals();
});

test('frames are read however the bytes are cut', async () => {
	const encoder = new TextEncoder();
	const data = { channel: 'demo', topic: 'message', data: { message: 'žluťoučký 🐎' } };
	const bytes = encoder.encode(
		`: hello\r\nid: e-1\r\nevent: message\r\ndata: ${JSON.stringify(data)}\r\n\r\n`
	);
	for (const byte of bytes) client.endpoint.last.bytes(Uint8Array.of(byte));
	await settle();
	expect(client.heard.demo).toEqual([{ message: 'žluťoučký 🐎' }]);
	expect(client.state('demo').cursor).toBe('e-1');
});

test.each([
	['no JSON', 'event: message\ndata: {oops\n\n'],
	['no object', 'event: message\ndata: 5\n\n'],
	['no topic', 'event: message\ndata: {"channel":"demo","data":1}\n\n'],
	['no status', 'event: health\ndata: {"channel":"demo","ok":true}\n\n'],
	['no reason', 'event: resync\ndata: {"channel":"demo"}\n\n'],
	['a channel that is none', 'event: message\ndata: {"channel":7,"topic":"count"}\n\n']
])('a frame with %s is reported and the stream goes on', async (_name, text) => {
	const error = vi.spyOn(console, 'error').mockReturnValue();
	client.endpoint.last.write(text).message('demo', 'count', 1);
	await settle();
	expect(client.failures).toMatchObject([{ source: 'parse' }]);
	expect(client.failures[0]?.error).toBeInstanceOf(Error);
	expect(client.heard.demo).toEqual([1]);
	expect(client.endpoint.last.aborted).toBe(false);
	error.mockRestore();
});

test('a frame of a channel that was not asked for is ignored', async () => {
	client.endpoint.last.message('other', 'count', 1).health('other', 'degraded', { fatal: true });
	await settle();
	expect(client.failures).toEqual([]);
	expect(client.health('demo').status).toBe('connected');
});

test('events of other names reach select() of the only channel, and harm nothing', async () => {
	const events: unknown[] = [];
	client.state('demo').frames.listen(({ event, raw }) => events.push({ event, raw }));
	client.endpoint.last.write('event: ping\ndata:\n\n');
	await settle();
	expect(events).toEqual([{ event: 'ping', raw: '' }]);
	expect(client.failures).toEqual([]);
});

test('the only channel of a stream may go unnamed, health unsaid, and messages still flow', async () => {
	await settle(1000);
	await client.subscribe({ channel: user, channelParams: 'a' });
	client.endpoint.last
		.open()
		.write('id: 1\nevent: message\ndata: {"topic":"message","data":2}\n\n');
	await settle();
	expect(client.heard['user:a']).toEqual([2]);
	expect(client.state('user:a').last).toMatchObject({ channel: 'user:a', topic: 'message' });
	expect(client.health('user:a')).toMatchObject({ ok: true, status: 'connected' });
});

test('a handler that throws is reported, and the others hear all the same', async () => {
	const error = vi.spyOn(console, 'error').mockReturnValue();
	const heard: unknown[] = [];
	const bad = () => {
		throw new Error('mine');
	};
	client.state('demo').topic('count').signal.listen(bad);
	client
		.state('demo')
		.topic('count')
		.signal.listen(({ message }) => heard.push(message?.data));
	client.endpoint.last.message('demo', 'count', 1).message('demo', 'count', 2);
	await settle();
	expect(heard).toEqual([1, 2]);
	expect(client.failures).toMatchObject([
		{ source: 'handler', channelId: 'demo' },
		{ source: 'handler' }
	]);
	expect(error).toHaveBeenCalledTimes(2);
	expect(client.health('demo').ok).toBe(true);
	error.mockRestore();
});

test('onFailure and onResync may throw', async () => {
	const error = vi.spyOn(console, 'error').mockReturnValue();
	await client.set({
		onFailure: () => {
			throw new Error('mine');
		},
		onResync: () => {
			throw new Error('mine');
		}
	});
	client.endpoint.last
		.write('event: message\ndata: {oops\n\n')
		.resync('demo', 'expired', 'e-1')
		.message('demo', 'count', 1);
	await settle();
	expect(client.heard.demo).toEqual([1]);
	expect(error).toHaveBeenCalled();
	error.mockRestore();
});

test('an unreadable event goes to the console too', async () => {
	const error = vi.spyOn(console, 'error').mockReturnValue();
	client.endpoint.last.write('event: message\ndata: {oops\n\n');
	await settle();
	expect(error).toHaveBeenCalledOnce();
	error.mockRestore();
});
