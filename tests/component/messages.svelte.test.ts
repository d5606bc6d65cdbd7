import { flushSync, tick } from 'svelte';
import { expect, test, vi } from 'vitest';
import { cdp } from 'vitest/browser';
import { render } from 'vitest-browser-svelte';
import {
	getRealtimeBusState,
	getRealtimeBusTopicMessages,
	getRealtimeBusTopicState,
	type RealtimeTopicMessages
} from '../../src/lib/client/index.js';
import { createTestBus } from '../../src/lib/testing/index.js';
import { demo } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

const numbers = (from: number, to: number) =>
	Array.from({ length: to - from + 1 }, (_, index) => from + index);

test('a list keeps the newest messages, oldest first, in a frozen array', async () => {
	const bus = createTestBus([{ channel: demo }]);
	let list!: RealtimeTopicMessages<number>;
	const screen = await render(Harness, {
		bus,
		setup: () => {
			list = getRealtimeBusTopicMessages(demo, 'count', { limit: 3, map: ({ data }) => data });
			return () => `[${list.current}]`;
		}
	});
	await expect.element(screen.getByText('[]')).toBeVisible();
	for (const n of numbers(1, 10)) bus.emit('count', n);
	await expect.element(screen.getByText('[8,9,10]')).toBeVisible();
	expect(Object.isFrozen(list.current)).toBe(true);
	expect(list.current).toBe(list.current);
	list.clear();
	await expect.element(screen.getByText('[]')).toBeVisible();
	bus.emit('count', 11);
	await expect.element(screen.getByText('[11]')).toBeVisible();
});

test('limit: null keeps all, limit: 0 none', async () => {
	const bus = createTestBus([{ channel: demo }]);
	let all!: RealtimeTopicMessages<unknown>;
	let none!: RealtimeTopicMessages<unknown>;
	await render(Harness, {
		bus,
		setup: () => {
			all = getRealtimeBusTopicMessages(demo, 'count', { limit: null });
			none = getRealtimeBusTopicMessages(demo, 'count', { limit: 0 });
			return () => '';
		}
	});
	for (const n of numbers(1, 500)) bus.emit('count', n);
	await expect.poll(() => all.current.length).toBe(500);
	expect(none.current).toEqual([]);
});

test('a list misses nothing while nobody reads it', async () => {
	const bus = createTestBus([{ channel: demo }]);
	let list!: RealtimeTopicMessages<number>;
	await render(Harness, {
		bus,
		setup: () => {
			list = getRealtimeBusTopicMessages(demo, 'count', { map: ({ data }) => data });
			return () => '';
		}
	});
	bus.emit('count', 1);
	bus.emit('count', 2);
	await expect.poll(() => list.current).toEqual([1, 2]);
});

test('a message that map cannot take is left out and reported, the rest comes', async () => {
	const error = vi.spyOn(console, 'error').mockReturnValue();
	const onFailure = vi.fn();
	const bus = createTestBus([{ channel: demo }], { onFailure });
	let list!: RealtimeTopicMessages<string>;
	await render(Harness, {
		bus,
		setup: () => {
			list = getRealtimeBusTopicMessages(demo, 'message', {
				map: ({ data }) => data.message.toUpperCase()
			});
			return () => '';
		}
	});
	bus.emit('message', null as never);
	bus.emit('message', { message: 'fine' });
	await expect.poll(() => list.current).toEqual(['FINE']);
	expect(onFailure).toHaveBeenCalledExactlyOnceWith(
		expect.objectContaining({ source: 'parse', channelId: 'demo', error: expect.any(TypeError) })
	);
	error.mockRestore();
});

test('10,000 messages in a second render at most 120 times and each reaches onMessage', async () => {
	const bus = createTestBus([{ channel: demo }], { bufferIntervalMs: undefined });
	let renders = 0;
	let valueRenders = 0;
	const heard: number[] = [];
	await render(Harness, {
		bus,
		setup: () => {
			const list = getRealtimeBusTopicMessages(demo, 'count', { map: ({ data }) => data });
			const value = getRealtimeBusTopicState(demo, 'count', { map: ({ data }) => data });
			getRealtimeBusState(demo).onMessage('count', ({ data }) => heard.push(data));
			$effect(() => {
				void list.current;
				renders++;
			});
			$effect(() => {
				void value.current;
				valueRenders++;
			});
			return () => `${list.current.at(-1)} ${value.current}`;
		}
	});
	const start = performance.now();
	for (let sent = 0; sent < 10_000;) {
		// As many chunks as a socket might bring, each a task of its own.
		const due = Math.min(10_000, Math.ceil((performance.now() - start) * 10));
		while (sent < due) bus.emit('count', ++sent);
		await new Promise((resolve) => setTimeout(resolve));
	}
	const seconds = (performance.now() - start) / 1000;
	await expect.poll(() => heard.length).toBe(10_000);
	expect(heard).toEqual(numbers(1, 10_000));
	await expect.poll(() => document.body.textContent).toContain('10000 10000');
	expect(renders).toBeLessThanOrEqual(120 * Math.max(1, seconds));
	expect(valueRenders).toBeLessThanOrEqual(120 * Math.max(1, seconds));
	expect(renders).toBeGreaterThan(2);
});

test('bufferIntervalMs of the hook, else of the manager, paces updates; 0 is every message', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'requestAnimationFrame'] });
	try {
		const bus = createTestBus([{ channel: demo }], { bufferIntervalMs: 1000 });
		const updates = { own: 0, managers: 0, each: 0 };
		await render(Harness, {
			bus,
			setup: () => {
				const lists = {
					own: getRealtimeBusTopicMessages(demo, 'count', { bufferIntervalMs: 300 }),
					managers: getRealtimeBusTopicMessages(demo, 'count'),
					each: getRealtimeBusTopicMessages(demo, 'count', { bufferIntervalMs: 0 })
				};
				for (const name of ['own', 'managers', 'each'] as const) {
					$effect(() => {
						void lists[name].current;
						updates[name]++;
					});
				}
				return () => '';
			}
		});
		flushSync();
		expect(updates).toEqual({ own: 1, managers: 1, each: 1 });
		for (let i = 0; i < 20; i++) {
			bus.emit('count', i);
			await vi.advanceTimersByTimeAsync(100);
			await tick();
		}
		// Two seconds: the first at once, then one per interval.
		expect(updates.own).toBe(1 + 7);
		expect(updates.managers).toBe(1 + 3);
		expect(updates.each).toBe(1 + 20);
	} finally {
		vi.useRealTimers();
	}
});

test('a bounded list stays flat in memory over 100,000 messages', async () => {
	const endpoint = new FakeEndpoint();
	let list!: RealtimeTopicMessages<{ data: { message: string } }>;
	await render(Harness, {
		subscriptions: [{ channel: demo }],
		fetch: endpoint.fetch,
		setup: () => {
			list = getRealtimeBusTopicMessages(demo, 'message', { limit: 100 });
			return () => String(list.current.length);
		}
	});
	const stream = endpoint.last.accept();
	let sent = 0;
	const send = async (count: number) => {
		for (const end = sent + count; sent < end;) {
			stream.message('demo', 'message', { message: `${++sent}` }, `e-${sent}`);
			// Lets the reader keep up, or the test would measure its queue.
			if (sent % 1000 === 0) await new Promise((resolve) => setTimeout(resolve));
		}
		await expect.poll(() => list.current.at(-1)?.data.message).toBe(`${sent}`);
		expect(list.current).toHaveLength(100);
	};
	await send(10_000);
	const before = await heapBytes();
	await send(90_000);
	// Kept, they would be tens of megabytes.
	expect((await heapBytes()) - before).toBeLessThan(2 * 1024 * 1024);
});

/** Bytes of the page's heap that are in use, after a collection. */
async function heapBytes(): Promise<number> {
	const session = cdp() as unknown as {
		send(method: string): Promise<{ usedSize: number }>;
	};
	await session.send('HeapProfiler.collectGarbage');
	return (await session.send('Runtime.getHeapUsage')).usedSize;
}
