import { flushSync } from 'svelte';
import { describe, expect, test, vi } from 'vitest';
import { render } from 'vitest-browser-svelte';
import {
	getRealtimeBus,
	getRealtimeBusState,
	getRealtimeBusTopicMessages,
	getRealtimeBusTopicState
} from '../../src/lib/client/index.js';
import { createTestBus } from '../../src/lib/testing/index.js';
import { demo, user } from '../support/client/channels.js';
import Harness from '../support/client/Harness.svelte';
import Inside from '../support/client/Inside.svelte';

const alice = { channel: user, channelParams: 'alice' } as const;
const bob = { channel: user, channelParams: 'bob' } as const;

describe('createTestBus', () => {
	test('feeds what is inside a manager, without a request', async () => {
		const fetch = vi.spyOn(globalThis, 'fetch');
		const bus = createTestBus([{ channel: demo }]);
		const screen = await render(Harness, {
			bus,
			setup: () => {
				const { health } = getRealtimeBusState(demo);
				const count = getRealtimeBusTopicState(demo, 'count', { map: ({ data }) => data });
				return () => `${health.current.status} ${count.current}`;
			}
		});
		await expect.element(screen.getByText('connected null')).toBeVisible();
		bus.emit('count', 3);
		await expect.element(screen.getByText('connected 3')).toBeVisible();
		bus.health('degraded', { detail: 'Denied', code: 403, fatal: true });
		await expect.element(screen.getByText('degraded 3')).toBeVisible();
		expect(fetch).not.toHaveBeenCalled();
		fetch.mockRestore();
	});

	test('is a context for a component without a manager', async () => {
		const bus = createTestBus([{ channel: demo }]);
		const setup = () => {
			const list = getRealtimeBusTopicMessages(demo, 'count');
			return () => list.current.map(({ cursor, data }) => `${cursor}=${data}`).join();
		};
		const screen = await render(Inside, { props: { setup }, context: bus.context });
		bus.emit('count', 1);
		bus.emit('count', 2);
		await expect.element(screen.getByText('test-1=1,test-2=2')).toBeVisible();
	});

	test('is an option of hooks, and updates with every message', () => {
		const bus = createTestBus([{ channel: demo }]);
		const seen: unknown[] = [];
		const stop = $effect.root(() => {
			const count = getRealtimeBusTopicState(demo, 'count', { bus, map: ({ data }) => data });
			$effect(() => void seen.push(count.current));
		});
		flushSync();
		for (const n of [1, 2, 3]) flushSync(() => bus.emit('count', n));
		expect(seen).toEqual([null, 1, 2, 3]);
		stop();
		bus.emit('count', 4);
		flushSync();
		expect(seen).toHaveLength(4);
	});

	test('delivers to the channel that is named, or to the only one that has the topic', () => {
		const bus = createTestBus([{ channel: demo }, alice, bob]);
		const heard: string[] = [];
		for (const channelParams of ['alice', 'bob']) {
			getRealtimeBusState(user, { channelParams, bus }).onMessage('message', ({ channel }) =>
				heard.push(channel)
			);
		}
		bus.emit('message', { message: '' }, alice);
		bus.emit('message', { message: '' }, { channel: 'user:bob' });
		expect(heard).toEqual(['user:alice', 'user:bob']);
		expect(() => bus.emit('message', { message: '' })).toThrowError(
			expect.objectContaining({
				code: 'INVALID_OPTION',
				message: expect.stringContaining('demo, user:alice, user:bob')
			})
		);
		expect(() => bus.emit('count', 1, { channel: 'user:bob' })).toThrowError(
			expect.objectContaining({ code: 'UNKNOWN_TOPIC' })
		);
		expect(() => bus.emit('$run', {})).toThrowError(
			expect.objectContaining({ code: 'UNKNOWN_TOPIC' })
		);
		expect(() => bus.health('connected', { channel: 'other' })).toThrowError(
			expect.objectContaining({ code: 'CHANNEL_NOT_ACTIVE' })
		);
	});

	test('announces gaps, of one channel or of all', () => {
		const onResync = vi.fn();
		const bus = createTestBus([{ channel: demo }, alice], { onResync });
		const mine = vi.fn();
		getRealtimeBusState(demo, { bus }).onResync(mine);
		bus.resync('expired', alice);
		bus.resync();
		expect(onResync.mock.calls.map(([{ channel, reason }]) => `${channel} ${reason}`)).toEqual([
			'user:alice expired',
			'demo restart',
			'user:alice restart'
		]);
		expect(mine).toHaveBeenCalledOnce();
	});

	test('reconnects what was refused, and carries what is subscribed later', () => {
		const bus = createTestBus([{ channel: demo }]);
		bus.health('degraded', { fatal: true });
		expect(bus.status.current.status).toBe('degraded');
		bus.reconnect();
		expect(bus.status.current.status).toBe('connected');
		const stop = bus.subscribe(alice);
		bus.emit('message', { message: 'hi' }, { channel: 'user:alice' });
		expect(getRealtimeBusTopicState(user, 'message', { ...alice, bus }).current?.data).toEqual({
			message: 'hi'
		});
		stop();
		expect(() => bus.health('connected', { channel: 'user:alice' })).toThrow();
		bus.close();
		expect(bus.status.current).toEqual({ status: 'paused', reason: 'closed' });
	});

	test('throws what a manager throws', () => {
		expect(() => createTestBus([{ channel: demo }, { channel: demo }])).toThrowError(
			expect.objectContaining({ code: 'DUPLICATE_CHANNEL' })
		);
	});
});

describe('getRealtimeBus().subscribe', () => {
	test('in a component serves its hooks, and ends with it', async () => {
		const bus = createTestBus([{ channel: demo }]);
		const screen = await render(Harness, {
			bus,
			setup: () => {
				getRealtimeBus().subscribe(alice);
				const message = getRealtimeBusTopicState(user, 'message', {
					...alice,
					map: ({ data }) => data.message
				});
				return () => `said: ${message.current}`;
			}
		});
		bus.emit('message', { message: 'hi' } as never, { channel: 'user:alice' });
		await expect.element(screen.getByText('said: hi')).toBeVisible();
		expect(bus.subscriptions.map(({ channelId }) => channelId)).toEqual(['demo', 'user:alice']);
		await screen.rerender({ shown: false });
		expect(bus.subscriptions.map(({ channelId }) => channelId)).toEqual(['demo']);
	});

	test('in an event handler makes waiting hooks find the channel', async () => {
		const bus = createTestBus([{ channel: demo }, bob]);
		let who = $state('bob');
		const screen = await render(Harness, {
			bus,
			setup: () => {
				const { health } = getRealtimeBusState(user, { channelParams: () => who });
				return () => {
					try {
						return `${who} ${health.current.status}`;
					} catch (error) {
						return (error as { code: string }).code;
					}
				};
			}
		});
		await expect.element(screen.getByText('bob connected')).toBeVisible();
		who = 'alice';
		await expect.element(screen.getByText('CHANNEL_NOT_ACTIVE')).toBeVisible();
		bus.subscribe(alice);
		await expect.element(screen.getByText('alice connected')).toBeVisible();
	});

	test('in an effect follows what it reads, and does not run itself again', async () => {
		const bus = createTestBus([{ channel: demo }]);
		let who = $state('alice');
		let runs = 0;
		await render(Harness, {
			bus,
			setup: () => {
				const inside = getRealtimeBus();
				$effect(() => {
					runs++;
					return inside.subscribe({ channel: user, channelParams: who });
				});
				return () => '';
			}
		});
		const names = () => bus.subscriptions.map(({ channelId }) => channelId).join();
		expect(names()).toBe('demo,user:alice');
		flushSync(() => (who = 'bob'));
		expect(names()).toBe('demo,user:bob');
		expect(runs).toBe(2);
	});
});

test('the status of the bus is followed', async () => {
	const bus = createTestBus([{ channel: demo }, alice]);
	const screen = await render(Harness, {
		bus,
		setup: () => {
			const { status } = getRealtimeBus();
			return () => `${status.current.status} ${status.current.reason}`;
		}
	});
	await expect.element(screen.getByText('connected undefined')).toBeVisible();
	bus.health('connecting', alice);
	await expect.element(screen.getByText('connecting undefined')).toBeVisible();
	bus.health('degraded', { channel: demo });
	await expect.element(screen.getByText('degraded undefined')).toBeVisible();
	bus.close();
	await expect.element(screen.getByText('paused closed')).toBeVisible();
});

describe('getRealtimeBusState', () => {
	const bus = createTestBus([{ channel: demo }, alice, bob]);
	const name = (...[params, options]: [unknown?, { bus: typeof bus }?]) =>
		getRealtimeBusState(user, params as never, options).channelId;

	test('takes options as the other hooks do, or parameters by position', () => {
		expect(name({ channelParams: 'bob', bus })).toBe('user:bob');
		expect(name('bob', { bus })).toBe('user:bob');
		expect(name(['bob'], { bus })).toBe('user:bob');
		expect(name(() => 'bob', { bus })).toBe('user:bob');
		expect(name({ channelParams: () => 'alice', bus })).toBe('user:alice');
		expect(getRealtimeBusState(demo, { bus }).channelId).toBe('demo');
		expect(getRealtimeBusState(demo, undefined, { bus }).channelId).toBe('demo');
	});

	test("takes a builder's object for parameters, whatever its keys are", () => {
		const topics = { status: { schema: {} as never } };
		const channel = Object.assign((params: { bus: string }) => ({ name: `line:${params.bus}` }), {
			topics
		});
		const lines = createTestBus([{ channel, channelParams: { bus: '42' } }]);
		expect(getRealtimeBusState(channel, { bus: '42' } as never, { bus: lines }).channelId).toBe(
			'line:42'
		);
		const channelParams = { bus: '42' };
		expect(getRealtimeBusState(channel, { channelParams, bus: lines }).channelId).toBe('line:42');
		// By position, and without a manager around.
		expect(() => getRealtimeBusState(channel, { bus: '42' } as never)).toThrowError(
			expect.objectContaining({ code: 'NO_MANAGER' })
		);
	});
});

test('in development a topic that the subscription does not request is warned about, once', async () => {
	const warn = vi.spyOn(console, 'warn').mockReturnValue();
	const bus = createTestBus([{ channel: demo, topics: ['count'] }]);
	const message = getRealtimeBusTopicState(demo, 'message', { bus });
	expect(warn).not.toHaveBeenCalled();
	void message.current;
	void message.current;
	expect(warn).toHaveBeenCalledExactlyOnceWith(
		'A hook reads topic "message" of realtime channel "demo", but the subscription requests only "count". Add it to its `topics`.'
	);
	void getRealtimeBusTopicState(demo, 'count', { bus }).current;
	expect(warn).toHaveBeenCalledOnce();
	warn.mockRestore();
});

describe('faults of a test bus', () => {
	const shown = async (bus: ReturnType<typeof createTestBus>) =>
		render(Harness, {
			bus,
			setup: () => {
				const { health } = getRealtimeBusState(demo);
				const list = getRealtimeBusTopicMessages(demo, 'count');
				return () =>
					`${health.current.status} ${health.current.code ?? ''} ${list.current.map(({ data }) => data).join()}${health.current.detail ? ' away' : ''}.`;
			}
		});

	test('cut and silence hold messages back; only cut says so', async () => {
		const bus = createTestBus([{ channel: demo }]);
		const screen = await shown(bus as never);
		for (const [fault, status] of [
			[() => bus.cut(), 'connecting'],
			[() => bus.silence(), 'connected']
		] as const) {
			const before = screen.container.textContent!.match(/[\d,]*\.$/)![0].replace('.', '');
			const end = fault();
			bus.emit('count', 7);
			await expect.element(screen.getByText(`${status} ${before}.`)).toBeVisible();
			end();
			const after = before ? `${before},7` : '7';
			await expect.element(screen.getByText(`connected ${after}.`)).toBeVisible();
		}
	});

	test('slow delays, deny ends a channel, and backendDown says what is missing', async () => {
		const bus = createTestBus([{ channel: demo }]);
		const screen = await shown(bus as never);
		const quick = bus.slow(50);
		bus.emit('count', 1);
		await expect.element(screen.getByText('connected .')).toBeVisible();
		await expect.element(screen.getByText('connected 1.')).toBeVisible();
		quick();
		const allow = bus.deny(demo);
		await expect.element(screen.getByText('degraded 403 1 away.')).toBeVisible();
		allow();
		await expect.element(screen.getByText('connected 1.')).toBeVisible();
		const up = bus.backendDown();
		await expect.element(screen.getByText('connected 1 away.')).toBeVisible();
		up();
		await expect.element(screen.getByText('connected 1.')).toBeVisible();
	});
});
