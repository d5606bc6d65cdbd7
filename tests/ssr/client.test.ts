import { expect, test, vi } from 'vitest';
import { render } from 'svelte/server';
import { get } from 'svelte/store';
import {
	getRealtimeBus,
	getRealtimeBusChannel,
	getRealtimeBusRun,
	getRealtimeBusState,
	getRealtimeBusTopicJson,
	getRealtimeBusTopicMessages,
	getRealtimeBusTopicState,
	getRealtimeBusTopicStream
} from '../../src/lib/client/index.js';
import { demo, user } from '../support/client/channels.js';
import Harness from '../support/client/Harness.svelte';
import Inside from '../support/client/Inside.svelte';
import Nested from '../support/client/Nested.svelte';

const fetch = vi.fn();
const subscriptions = [{ channel: demo }, { channel: user, channelParams: 'alice' }];

test('every hook renders on the server, without a connection', () => {
	const { body } = render(Harness, {
		props: {
			subscriptions,
			fetch,
			setup: () => {
				const bus = getRealtimeBus();
				const { health, channelId, topics, onMessage, onResync, select } =
					getRealtimeBusState(demo);
				onMessage('count', () => {})();
				onResync(() => {})();
				const state = getRealtimeBusTopicState(demo, 'count');
				const store = getRealtimeBusTopicJson(demo, 'count');
				const list = getRealtimeBusTopicMessages(demo, 'count');
				const stream = getRealtimeBusTopicStream(demo, 'count');
				const run = getRealtimeBusRun(demo);
				const channel = getRealtimeBusChannel(user, { channelParams: 'alice' });
				return () =>
					[
						bus.subscriptions.length,
						channelId,
						topics.join('+'),
						health.current.status,
						health.current.ok,
						state.current,
						get(store),
						get(select('message')),
						get(select('message').json()),
						list.current.length,
						stream.current,
						stream.all.length,
						run.status,
						channel.channelId,
						channel.topics.message.current,
						channel.last.current
					].join();
			}
		}
	});
	expect(body).toContain('>2,demo,count+message,connecting,false,,,,,0,,0,unknown,user:alice,,<');
	expect(fetch).not.toHaveBeenCalled();
});

test('a bus has a status on the server, and takes subscriptions', () => {
	const texts: string[] = [];
	const page = (props: object) =>
		render(Harness, {
			props: {
				subscriptions,
				fetch,
				...props,
				setup: () => {
					const bus = getRealtimeBus();
					bus.subscribe({ channel: user, channelParams: 'bob' });
					const { channelId } = getRealtimeBusState(user, { channelParams: 'bob' });
					return () => {
						const { status, reason } = bus.status.current;
						texts.push(`${channelId} ${status} ${reason}`);
						return '';
					};
				}
			}
		}).body;
	page({});
	page({ enabled: false });
	expect(texts).toEqual(['user:bob connecting undefined', 'user:bob paused disabled']);
	expect(fetch).not.toHaveBeenCalled();
});

test('subscriptions that are no list are refused in words', () => {
	expect(() => render(Harness, { props: { setup: () => () => '' } as never }).body).toThrow(
		/^The subscriptions of a <RealtimeManager> must be a list, not undefined\./
	);
});

test('initial values are rendered', () => {
	const { body } = render(Harness, {
		props: {
			subscriptions,
			setup: () => {
				const count = getRealtimeBusTopicState(demo, 'count', {
					map: ({ data }) => data,
					initial: 41
				});
				const store = getRealtimeBusTopicJson(demo, 'count', {
					map: ({ data }) => data,
					initial: 42
				});
				return () => `${count.current} ${get(store)}`;
			}
		}
	});
	expect(body).toContain('<output>41 42</output>');
});

test('arguments may be functions', () => {
	const { body } = render(Harness, {
		props: {
			subscriptions,
			setup: () => {
				const { channelId } = getRealtimeBusState(
					() => user,
					() => 'alice'
				);
				return () => channelId;
			}
		}
	});
	expect(body).toContain('user:alice');
});

test('hooks look outward through nested managers', () => {
	const { body } = render(Nested, {
		props: {
			outer: { subscriptions },
			inner: { subscriptions: [{ channel: user, channelParams: 'bob' }] },
			setup: () => {
				const ids = [
					getRealtimeBusState(demo).channelId,
					getRealtimeBusState(user, 'bob').channelId,
					getRealtimeBus().subscriptions.map(({ channelId }) => channelId)
				];
				return () => ids.join(' ');
			}
		}
	});
	expect(body).toContain('demo user:bob user:bob');
});

test('the documented errors are thrown', () => {
	const attempt = (setup: () => unknown) => {
		let thrown: unknown;
		void render(Harness, {
			props: {
				subscriptions,
				setup: () => {
					try {
						setup();
					} catch (error) {
						thrown = error;
					}
					return () => '';
				}
			}
		}).body;
		return thrown;
	};
	expect(attempt(() => getRealtimeBusState(user, 'nobody'))).toMatchObject({
		code: 'CHANNEL_NOT_ACTIVE',
		message: expect.stringMatching(/^Realtime channel "user:nobody" is not active/)
	});
	expect(() => getRealtimeBus()).toThrow(/^getRealtimeBus\(\) requires <RealtimeManager>/);
	expect(
		() => render(Inside, { props: { setup: () => (getRealtimeBus(), () => '') } }).body
	).toThrow(expect.objectContaining({ code: 'NO_MANAGER' }));
	const twice = { subscriptions: [{ channel: demo }, { channel: demo() }], setup: () => () => '' };
	expect(() => render(Harness, { props: twice }).body).toThrow(
		expect.objectContaining({ code: 'DUPLICATE_CHANNEL' })
	);
});
