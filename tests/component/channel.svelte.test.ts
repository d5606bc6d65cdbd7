import { typeOnlyChannel } from '@inngest/realtime';
import { expect, test, vi } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { getRealtimeBusChannel, type RealtimeChannel } from '../../src/lib/client/index.js';
import { createTestBus } from '../../src/lib/testing/index.js';
import { demo } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

test('one hook gives the topics, the last message, health and messages as they come', async () => {
	const endpoint = new FakeEndpoint();
	let channel!: RealtimeChannel<typeof demo>;
	const heard: number[] = [];
	const screen = await render(Harness, {
		subscriptions: [{ channel: demo }],
		fetch: endpoint.fetch,
		setup: () => {
			channel = getRealtimeBusChannel(demo);
			channel.onMessage('count', ({ data }) => heard.push(data));
			return () =>
				[
					channel.topics.message.current?.data.message,
					channel.topics.count.current?.data,
					channel.last.current?.topic,
					channel.health.current.status
				].join('|');
		}
	});
	await expect.element(screen.getByText('|||connecting')).toBeVisible();
	const stream = endpoint.last.accept();
	stream.message('demo', 'message', { message: 'hello' }).message('demo', 'count', 3);
	await expect.element(screen.getByText('hello|3|count|connected')).toBeVisible();
	expect(heard).toEqual([3]);
	expect(channel.channelId).toBe('demo');
	expect(Object.keys(channel.topics).sort()).toEqual(['count', 'message']);
	expect(channel.topics.count).toBe(channel.topics.count);
	channel.reconnect();
	await expect.poll(() => endpoint.streams.length).toBe(2);
});

test('a typeOnlyChannel has the topics that it is subscribed to', async () => {
	const typed = typeOnlyChannel<typeof demo>('demo');
	const bus = createTestBus([{ channel: typed, topics: ['count'] }]);
	let channel!: RealtimeChannel<typeof typed>;
	await render(Harness, {
		bus,
		setup: () => {
			channel = getRealtimeBusChannel(typed);
			return () => String(channel.topics.count.current?.data);
		}
	});
	bus.emit('count', 5);
	await expect.poll(() => channel.topics.count.current?.data).toBe(5);
});

test('pieces of data streams are no values, but reach onMessage', async () => {
	const bus = createTestBus([{ channel: demo }]);
	const onMessage = vi.fn();
	let channel!: RealtimeChannel<typeof demo>;
	await render(Harness, {
		bus,
		setup: () => {
			channel = getRealtimeBusChannel(demo);
			channel.onMessage('message', ({ kind }) => onMessage(kind));
			return () => '';
		}
	});
	bus.emit('message', { message: 'value' });
	bus.emit('message', 's1' as never, { kind: 'datastream-start', streamId: 's1' });
	bus.emit('message', 'text' as never, { kind: 'chunk', streamId: 's1' });
	await expect
		.poll(() => onMessage.mock.calls.flat())
		.toEqual(['data', 'datastream-start', 'chunk']);
	expect(channel.topics.message.current?.data).toEqual({ message: 'value' });
	expect(channel.last.current?.kind).toBe('data');
});
