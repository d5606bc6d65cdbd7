import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
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

describe('the cursor of a message', () => {
	const cursors = (channelId: string): string[] => {
		const all: string[] = [];
		client.state(channelId).frames.listen(({ event, data }) => {
			if (event === 'message') all.push((data as { cursor?: string }).cursor ?? '');
		});
		return all;
	};

	test('is its id, also where the data has a field of that name', async () => {
		await client.subscribe({ channel: demo });
		const all = cursors('demo');
		const stream = client.endpoint.last.accept('e-0').message('demo', 'count', 1, 'e-1');
		stream.event('message', { channel: 'demo', topic: 'count', data: 2, cursor: 'mine' }, 'e-2');
		await settle();
		expect(all).toEqual(['e-1', 'e-2']);
		expect(client.state('demo').last?.cursor).toBe('e-2');
	});

	test.each([
		['no id', undefined],
		['always the same id', '7']
	])('of an endpoint that sends %s is unique, and never sent back', async (_name, id) => {
		await client.subscribe({ channel: demo });
		const all = cursors('demo');
		const stream = client.endpoint.last.open();
		for (let n = 0; n < 5; n++) stream.message('demo', 'count', n, id);
		await settle();
		expect(new Set(all).size).toBe(5);
		expect(all.every((cursor) => cursor !== '')).toBe(true);
		stream.fail();
		await settle(10);
		expect(client.endpoint.last.body.lastEventId).toBe(id);
	});
});

describe('where a subscription begins', () => {
	test('since and history are sent until the channel has a cursor', async () => {
		await client.subscribe(
			{ channel: demo, since: 'e-5' },
			{ channel: user, channelParams: 'a', history: 20 }
		);
		expect(client.endpoint.last.subscriptions).toEqual([
			{ channel: 'demo', topics: ['count', 'message'], since: 'e-5' },
			{ channel: 'user:a', topics: ['message'], history: 20 }
		]);
		client.endpoint.last.fail();
		await settle(10);
		expect(client.endpoint.last.subscriptions[0]).toMatchObject({ since: 'e-5' });
		client.endpoint.last.open().message('demo', 'count', 6, 'e-6');
		await settle();
		client.endpoint.last.fail();
		await settle(10);
		expect(client.endpoint.last.subscriptions).toEqual([
			{ channel: 'demo', topics: ['count', 'message'], lastEventId: 'e-6' },
			{ channel: 'user:a', topics: ['message'], history: 20 }
		]);
	});

	test('another beginning opens no stream for a channel that is on its way', async () => {
		await client.subscribe({ channel: demo, since: 'e-5' });
		client.endpoint.last.accept('e-9');
		await settle(1_000);
		await client.subscribe({ channel: demo, since: 'e-7' });
		await client.subscribe({ channel: demo, history: 3 });
		await client.subscribe({ channel: demo });
		await settle(1_000);
		expect(client.endpoint.streams).toHaveLength(1);
		expect(client.endpoint.last.aborted).toBe(false);
	});

	test('what load did not return is no beginning', async () => {
		await client.subscribe(
			{ channel: demo, since: null },
			{ channel: user, channelParams: 'a', history: 0 }
		);
		for (const subscription of client.endpoint.last.subscriptions) {
			expect(subscription).not.toHaveProperty('since');
			expect(subscription).not.toHaveProperty('history');
		}
	});
});

describe('a message that cannot be read', () => {
	const alice = { channel: user, channelParams: 'a' };
	/** Topics that have an error. */
	const marked = (): string[] =>
		[
			['demo', 'count'],
			['demo', 'message'],
			['user:a', 'message']
		].flatMap(([channel, topic]) =>
			client.state(channel!).topic(topic!).arrival?.error ? [`${channel}/${topic}`] : []
		);

	beforeEach(async () => {
		vi.spyOn(console, 'error').mockReturnValue();
		await client.subscribe({ channel: demo }, alice);
		client.endpoint.last
			.accept('e-0')
			.message('demo', 'count', 1, 'e-1')
			.message('user:a', 'message', { message: '' }, 'f-1');
		// Someone reads every topic.
		marked();
		await settle();
	});

	test('concerns the topic that it names', async () => {
		client.endpoint.last.write(
			'event: message\ndata: {"channel":"demo","topic":"count","data":{oops\n\n'
		);
		await settle();
		expect(marked()).toEqual(['demo/count']);
		expect(client.failures).toMatchObject([{ source: 'parse', channelId: 'demo' }]);
	});

	test.each([
		['of several channels, if it names none', 'event: message\ndata: {oops\n\n'],
		[
			'if it names one that is not subscribed',
			'event: message\ndata: {"channel":"x","topic":"count",\n\n'
		],
		['if it is no message', 'event: health\ndata: {"channel":"demo","topic":"count",\n\n']
	])('concerns nobody %s', async (_name, text) => {
		client.endpoint.last.write(text);
		await settle();
		expect(marked()).toEqual([]);
		expect(client.failures).toMatchObject([{ source: 'parse' }]);
	});

	test('that names none concerns the only channel of its stream', async () => {
		await client.subscribe({ channel: demo });
		await settle(1_000);
		client.endpoint.last.accept('e-1').write('event: message\ndata: {oops\n\n');
		await settle();
		expect(marked()).toEqual(['demo/count', 'demo/message']);
	});
});
