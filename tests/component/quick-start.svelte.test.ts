import { expect, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import {
	getRealtimeBusState,
	getRealtimeBusTopicJson,
	getRealtimeBusTopicState
} from '../../src/lib/client/index.js';
import { demo, user } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

test('a component shows health and the newest messages of its topics', async () => {
	const endpoint = new FakeEndpoint();
	const screen = await render(Harness, {
		subscriptions: [{ channel: demo }],
		fetch: endpoint.fetch,
		setup: () => {
			const { health } = getRealtimeBusState(demo);
			const message = getRealtimeBusTopicState(demo, 'message', {
				map: ({ data }) => data.message
			});
			return () => `${health.current.status} ${message.current ?? 'nothing'}`;
		}
	});
	await expect.element(screen.getByText('connecting nothing')).toBeVisible();
	expect(endpoint.last.body).toEqual({ channel: 'demo', topics: ['count', 'message'] });
	expect(endpoint.last.url).toBe('/api/events');
	endpoint.last.accept();
	await expect.element(screen.getByText('connected nothing')).toBeVisible();
	endpoint.last.message('demo', 'message', { message: 'hello' }, 'e-1');
	await expect.element(screen.getByText('connected hello')).toBeVisible();
});

test('one stream carries all channels of a manager', async () => {
	const endpoint = new FakeEndpoint();
	const subscriptions = [{ channel: demo }, { channel: user, channelParams: 'alice' }];
	const screen = await render(Harness, {
		subscriptions,
		fetch: endpoint.fetch,
		setup: () => {
			const one = getRealtimeBusTopicState(demo, 'count', { map: ({ data }) => data, initial: 0 });
			const two = getRealtimeBusTopicState(user, 'message', {
				channelParams: 'alice',
				map: ({ data }) => data.message,
				initial: '-'
			});
			return () => `${one.current} ${two.current}`;
		}
	});
	expect(endpoint.streams).toHaveLength(1);
	expect(endpoint.last.body).toEqual({
		subscriptions: [
			{ channel: 'demo', topics: ['count', 'message'] },
			{ channel: 'user:alice', topics: ['message'] }
		]
	});
	endpoint.last
		.accept()
		.message('demo', 'count', 7)
		.message('user:alice', 'message', { message: 'hi' });
	await expect.element(screen.getByText('7 hi')).toBeVisible();
});

test('two identical messages in a row are two messages', async () => {
	const endpoint = new FakeEndpoint();
	const heard: unknown[] = [];
	const stored: unknown[] = [];
	await render(Harness, {
		subscriptions: [{ channel: demo }],
		fetch: endpoint.fetch,
		setup: () => {
			getRealtimeBusState(demo).onMessage('count', ({ data }) => heard.push(data));
			const store = getRealtimeBusTopicJson(demo, 'count', { map: ({ data }) => data });
			store.subscribe((value) => stored.push(value));
			return () => '';
		}
	});
	endpoint.last.accept().message('demo', 'count', 1, 'e-1').message('demo', 'count', 1, 'e-2');
	await expect.poll(() => heard).toEqual([1, 1]);
	expect(stored).toEqual([null, 1, 1]);
});
