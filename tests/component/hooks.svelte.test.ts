import { flushSync, onDestroy } from 'svelte';
import { get } from 'svelte/store';
import { describe, expect, test, vi } from 'vitest';
import { render } from 'vitest-browser-svelte';
import {
	getRealtimeBus,
	getRealtimeBusChannel,
	getRealtimeBusRun,
	getRealtimeBusState,
	getRealtimeBusTopicJson,
	getRealtimeBusTopicMessages,
	getRealtimeBusTopicState,
	getRealtimeBusTopicStream,
	type RealtimeBus,
	type RealtimeBusState
} from '../../src/lib/client/index.js';
import { demo, user } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';
import Nested from '../support/client/Nested.svelte';
import Room from '../support/client/Room.svelte';

const alice = { channel: user, channelParams: 'alice' };
const bob = { channel: user, channelParams: 'bob' };

/** A page on a fake endpoint whose component runs `setup`. */
async function page(setup: () => (() => string) | void, props: object = {}) {
	const endpoint = new FakeEndpoint();
	const screen = await render(Harness, {
		subscriptions: [{ channel: demo }, alice, bob],
		fetch: endpoint.fetch,
		setup: () => setup() ?? (() => ''),
		...props
	});
	return { endpoint, screen };
}

test('parameters that change inside of $state are asked for', async () => {
	const subscriptions = $state([{ channel: demo, params: { scope: 'a' } }]);
	const { endpoint } = await page(() => {}, { subscriptions });
	endpoint.last.accept('e-1');
	subscriptions[0]!.params.scope = 'b';
	await expect.poll(() => endpoint.last.body.params).toEqual({ scope: 'b' });
});

test('a handler that an earlier one stops does not hear what that one heard', async () => {
	const heard: string[] = [];
	const { endpoint } = await page(() => {
		const { onMessage } = getRealtimeBusState(demo);
		let stop = () => {};
		onMessage('count', () => {
			heard.push('first');
			stop();
		});
		stop = onMessage('count', () => heard.push('second'));
	});
	endpoint.last.accept().message('demo', 'count', 1).message('demo', 'count', 2);
	await expect.poll(() => heard).toEqual(['first', 'first']);
});

describe('reactive arguments', () => {
	test('a value follows channel parameters and topic', async () => {
		let who = $state('alice');
		const { endpoint, screen } = await page(() => {
			const message = getRealtimeBusTopicState(user, 'message', {
				channelParams: () => who,
				map: ({ data }) => data.message
			});
			return () => `${who}: ${message.current}`;
		});
		endpoint.last
			.accept()
			.message('user:alice', 'message', { message: 'A' })
			.message('user:bob', 'message', { message: 'B' });
		await expect.element(screen.getByText('alice: A')).toBeVisible();
		who = 'bob';
		await expect.element(screen.getByText('bob: B')).toBeVisible();
	});

	test('handlers, stores and lists follow as well; a list begins anew', async () => {
		let who = $state('alice');
		const heard: string[] = [];
		const stored: (string | null)[] = [];
		const shown: string[] = [];
		const { endpoint } = await page(() => {
			const options = {
				channelParams: () => who,
				map: ({ data }: { data: { message: string } }) => data.message
			};
			getRealtimeBusState(user, () => who).onMessage('message', ({ data }) =>
				heard.push(data.message)
			);
			getRealtimeBusTopicJson(user, 'message', options).subscribe((value) => stored.push(value));
			const list = getRealtimeBusTopicMessages(user, 'message', options);
			$effect(() => void shown.push(list.current.join()));
		});
		const stream = endpoint.last.accept();
		stream.message('user:alice', 'message', { message: 'a' });
		stream.message('user:bob', 'message', { message: 'not heard' });
		await expect.poll(() => shown.at(-1)).toBe('a');
		flushSync(() => (who = 'bob'));
		expect(shown.at(-1)).toBe('');
		stream.message('user:alice', 'message', { message: 'not heard' });
		stream.message('user:bob', 'message', { message: 'b' });
		await expect.poll(() => shown.at(-1)).toBe('b');
		expect(heard).toEqual(['a', 'b']);
		expect(stored).toEqual([null, 'a', 'not heard', 'b']);
	});

	test('one that comes to mean a channel that is not active throws the documented error', async () => {
		let who = $state('alice');
		let state!: RealtimeBusState<typeof user>;
		await page(() => {
			state = getRealtimeBusState(user, () => who);
		});
		expect(state.channelId).toBe('user:alice');
		who = 'nobody';
		expect(() => state.channelId).toThrowError(
			expect.objectContaining({ code: 'CHANNEL_NOT_ACTIVE' })
		);
		who = 'bob';
		expect(state.channelId).toBe('user:bob');
	});

	test('a hook follows a subscription that changes in the same flush', async () => {
		const endpoint = new FakeEndpoint();
		const screen = await render(Room, { who: 'alice', fetch: endpoint.fetch });
		endpoint.last.accept('e-0');
		await expect.element(screen.getByText('user:alice connected')).toBeVisible();
		await screen.rerender({ who: 'bob' });
		await expect.element(screen.getByText('user:bob connecting')).toBeVisible();
		await expect.poll(() => endpoint.last.body.channel).toBe('user:bob');
		endpoint.last.accept();
		await expect.element(screen.getByText('user:bob connected')).toBeVisible();
	});
});

describe('map and or', () => {
	test('a message that map cannot take leaves the value and is reported', async () => {
		const error = vi.spyOn(console, 'error').mockReturnValue();
		const onFailure = vi.fn();
		const { endpoint, screen } = await page(
			() => {
				const text = getRealtimeBusTopicState(demo, 'message', {
					map: ({ data }) => data.message.toUpperCase()
				});
				return () => `value: ${text.current}`;
			},
			{ onFailure }
		);
		const stream = endpoint.last.accept().message('demo', 'message', { message: 'one' });
		await expect.element(screen.getByText('value: ONE')).toBeVisible();
		stream.message('demo', 'message', null);
		await expect.poll(() => onFailure.mock.calls.length).toBe(1);
		expect(onFailure).toHaveBeenCalledWith(
			expect.objectContaining({ source: 'parse', channelId: 'demo' })
		);
		await expect.element(screen.getByText('value: ONE')).toBeVisible();
		error.mockRestore();
	});

	test('or decides what follows a message or a frame that cannot be read', async () => {
		const error = vi.spyOn(console, 'error').mockReturnValue();
		const calls: [string, string, string | null][] = [];
		const stored: (string | null)[] = [];
		const { endpoint } = await page(() => {
			const options = {
				map: ({ data }: { data: { message: string } }) => data.message.toUpperCase(),
				or: ({ error, raw, previous }: { error: Error; raw: string; previous: string | null }) => {
					calls.push([error.constructor.name, raw, previous]);
					return `${previous}!`;
				}
			};
			getRealtimeBusTopicJson(demo, 'message', options).subscribe((value) => stored.push(value));
		});
		const stream = endpoint.last.accept();
		stream.message('demo', 'message', { message: 'one' }).message('demo', 'message', null);
		const raw = '{"channel":"demo","topic":"message","data":oops';
		stream.write(`event: message\ndata: ${raw}\n\n`);
		await expect.poll(() => stored).toEqual([null, 'ONE', 'ONE!', 'ONE!!']);
		expect(calls[0]?.[0]).toBe('TypeError');
		expect(calls[1]).toEqual(['SyntaxError', raw, 'ONE!']);
		error.mockRestore();
	});

	test('initial is shown until the first message', async () => {
		const { endpoint, screen } = await page(() => {
			const count = getRealtimeBusTopicState(demo, 'count', {
				map: ({ data }) => data,
				initial: -1
			});
			return () => `count: ${count.current}`;
		});
		await expect.element(screen.getByText('count: -1')).toBeVisible();
		endpoint.last.accept().message('demo', 'count', 0);
		await expect.element(screen.getByText('count: 0')).toBeVisible();
	});

	test('initial does not come back where map gives null', async () => {
		const { endpoint, screen } = await page(() => {
			const count = getRealtimeBusTopicState(demo, 'count', {
				map: ({ data }): number | null => (data > 0 ? data : null),
				initial: -1
			});
			return () => `count: ${count.current}`;
		});
		endpoint.last.accept().message('demo', 'count', 0);
		await expect.element(screen.getByText('count: null')).toBeVisible();
	});
});

describe('handlers', () => {
	test('hear every message of their topic until they are ended, or the component is', async () => {
		const heard: string[] = [];
		let stop!: () => void;
		let late!: RealtimeBusState<typeof demo>;
		const { endpoint, screen } = await page(() => {
			late = getRealtimeBusState(demo);
			stop = late.onMessage('count', ({ data }) => heard.push(`first ${data}`));
			late.onMessage('count', ({ data }) => heard.push(`second ${data}`));
		});
		const stream = endpoint.last.accept();
		stream.message('demo', 'count', 1).message('demo', 'message', { message: 'other topic' });
		await expect.poll(() => heard).toEqual(['first 1', 'second 1']);
		stop();
		stop();
		late.onMessage('count', ({ data }) => heard.push(`late ${data}`));
		stream.message('demo', 'count', 2);
		await expect.poll(() => heard.slice(2)).toEqual(['second 2', 'late 2']);
		await screen.rerender({ shown: false });
		late.onMessage('count', ({ data }) => heard.push(`too late ${data}`));
		stream.message('demo', 'count', 3);
		stream.health('demo', 'degraded', { detail: 'end', fatal: true });
		await expect.poll(() => late.health.current.detail).toBe('end');
		expect(heard).toHaveLength(4);
	});

	test('can be ended while the component ends, without ending anything else', async () => {
		const heard: number[] = [];
		let ended = 0;
		const { endpoint, screen } = await page(() => {
			const { onMessage } = getRealtimeBusState(demo);
			const stops = [1, 2, 3].map(() => onMessage('count', ({ data }) => heard.push(data)));
			onDestroy(() => stops.forEach((stop) => stop()));
			getRealtimeBusState(alice.channel, 'alice').onMessage('message', () => heard.push(-1));
			onDestroy(() => ended++);
			return () => 'shown';
		});
		const stream = endpoint.last.accept().message('demo', 'count', 1);
		await expect.poll(() => heard).toEqual([1, 1, 1]);
		await screen.rerender({ shown: false });
		await expect.element(screen.getByText('shown')).not.toBeInTheDocument();
		expect(ended).toBe(1);
		stream.message('demo', 'count', 2).message('user:alice', 'message', { message: '' });
		stream.end();
		await expect.poll(() => endpoint.streams.length).toBe(2);
		expect(heard).toEqual([1, 1, 1]);
	});

	test('one that throws is logged and reported, and the others hear', async () => {
		const error = vi.spyOn(console, 'error').mockReturnValue();
		const onFailure = vi.fn();
		const heard: number[] = [];
		const { endpoint } = await page(
			() => {
				const { onMessage } = getRealtimeBusState(demo);
				onMessage('count', () => {
					throw new Error('mine');
				});
				onMessage('count', ({ data }) => heard.push(data));
			},
			{ onFailure }
		);
		endpoint.last.accept().message('demo', 'count', 1).message('demo', 'count', 2);
		await expect.poll(() => heard).toEqual([1, 2]);
		expect(error).toHaveBeenCalledTimes(2);
		expect(onFailure).toHaveBeenCalledWith(
			expect.objectContaining({ source: 'handler', channelId: 'demo' })
		);
		error.mockRestore();
	});

	test('onResync of the hook hears of its channel, that of the manager of all', async () => {
		const mine = vi.fn();
		const all = vi.fn();
		const { endpoint } = await page(() => void getRealtimeBusState(demo).onResync(mine), {
			onResync: all
		});
		endpoint.last.accept().resync('demo', 'expired', 'e-1').resync('user:bob', 'idle', 'f-1');
		await expect.poll(() => all.mock.calls.length).toBe(2);
		expect(mine).toHaveBeenCalledExactlyOnceWith(
			expect.objectContaining({ channel: 'demo', reason: 'expired' })
		);
	});
});

describe('select', () => {
	test('gives the raw data of an event of the channel, as JSON, or transformed', async () => {
		let state!: RealtimeBusState<typeof demo>;
		const { endpoint } = await page(() => void (state = getRealtimeBusState(demo)));
		const raw: string[] = [];
		const stops = [
			state.select('message').subscribe((value) => raw.push(value)),
			state
				.select('health')
				.json<{ status: string }>()
				.subscribe(() => {})
		];
		const json = state.select('message').json<{ data: number }>(({ previous }) => previous);
		const size = state.select('message').transform((value) => value.length);
		const seen: unknown[] = [];
		stops.push(json.subscribe((value) => seen.push(value?.data)));
		stops.push(size.subscribe((value) => seen.push(typeof value)));
		endpoint.last.accept().message('demo', 'count', 7).message('user:bob', 'message', 'other');
		await expect.poll(() => raw.length).toBe(2);
		expect(raw[0]).toBe('');
		expect(JSON.parse(raw[1]!)).toMatchObject({ channel: 'demo', topic: 'count', data: 7 });
		expect(seen).toEqual([undefined, 'number', 7, 'number']);
		for (const stop of stops) stop();
	});
});

describe('where hooks are called', () => {
	test('nested managers: the nearest that has the channel answers', async () => {
		const outer = new FakeEndpoint();
		const inner = new FakeEndpoint();
		const screen = await render(Nested, {
			outer: { subscriptions: [{ channel: demo }, alice], fetch: outer.fetch },
			inner: { subscriptions: [alice], fetch: inner.fetch },
			setup: () => {
				const count = getRealtimeBusTopicState(demo, 'count', { map: ({ data }) => data });
				const near = getRealtimeBusTopicState(user, 'message', {
					channelParams: 'alice',
					map: ({ data }) => data.message
				});
				return () => `${count.current} ${near.current}`;
			}
		});
		outer.last
			.accept()
			.message('demo', 'count', 1)
			.message('user:alice', 'message', { message: 'outer' });
		inner.last.accept().message('user:alice', 'message', { message: 'inner' });
		await expect.element(screen.getByText('1 inner')).toBeVisible();
	});

	test('outside a component they take a bus and end with their $effect.root', async () => {
		let bus!: RealtimeBus;
		const { endpoint } = await page(() => void (bus = getRealtimeBus()));
		expect(() => getRealtimeBusTopicState(demo, 'count')).toThrowError(
			expect.objectContaining({ code: 'NO_MANAGER' })
		);
		const heard: number[] = [];
		const values: unknown[] = [];
		const stop = $effect.root(() => {
			const list = getRealtimeBusTopicMessages(demo, 'count', { bus, map: ({ data }) => data });
			getRealtimeBusState(demo, undefined, { bus }).onMessage('count', ({ data }) =>
				heard.push(data)
			);
			$effect(() => void values.push(list.current.join()));
		});
		const stream = endpoint.last.accept().message('demo', 'count', 1);
		await expect.poll(() => values.at(-1)).toBe('1');
		stop();
		const state = getRealtimeBusTopicState(demo, 'count', { bus });
		stream.message('demo', 'count', 2);
		await expect.poll(() => state.current?.data).toBe(2);
		expect(heard).toEqual([1]);
		expect(values.at(-1)).toBe('1');
	});

	test('all of them are safe when their manager is gone', async () => {
		let gone!: () => unknown[];
		let act!: () => void;
		const { endpoint, screen } = await page(() => {
			const state = getRealtimeBusState(demo);
			const channel = getRealtimeBusChannel(demo);
			const value = getRealtimeBusTopicState(demo, 'count');
			const list = getRealtimeBusTopicMessages(demo, 'count');
			const streams = getRealtimeBusTopicStream(demo, 'message');
			const run = getRealtimeBusRun(demo);
			const bus = getRealtimeBus();
			gone = () => [
				state.channelId,
				state.topics.join(),
				state.health.current.ok,
				value.current?.data,
				list.current.length,
				channel.last.current?.data,
				channel.topics.count.current?.data,
				streams.current,
				run.status,
				get(state.select('message'))
			];
			act = () => {
				state.onMessage('count', () => {})();
				state.onResync(() => {})();
				state.reconnect();
				bus.reconnect();
				list.clear();
				streams.clear();
				run.reset();
			};
		});
		endpoint.last.accept().message('demo', 'count', 5);
		await expect.poll(() => gone()[3]).toBe(5);
		await screen.unmount();
		expect(endpoint.last.aborted).toBe(true);
		expect(gone()).toEqual(['demo', 'count,message', false, 5, 1, 5, 5, null, 'running', '']);
		act();
		expect(endpoint.streams).toHaveLength(1);
	});
});
