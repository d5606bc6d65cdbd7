// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import {
	defineEvent,
	getRealtimeBusSend,
	getRealtimeBusState
} from '../../src/lib/client/index.js';
import { createTestBus } from '../../src/lib/testing/index.js';
import { demoChannel, userChannel } from '../support/channels.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const alice = { channel: userChannel, channelParams: 'alice' } as const;

/** A bus of two channels, and what a page hears of them. */
function open() {
	const onFailure = vi.fn();
	const bus = createTestBus([{ channel: demoChannel }, alice], { onFailure });
	const heard: string[] = [];
	const demo = getRealtimeBusState(demoChannel, { bus });
	const user = getRealtimeBusState(userChannel, { channelParams: 'alice', bus });
	demo.onMessage('message', ({ data }) => heard.push(data.message));
	user.onMessage('message', ({ data }) => heard.push(`alice: ${data.message}`));
	return {
		bus,
		heard,
		onFailure,
		say: (message: string) => bus.emit('message', { message }, { channel: demoChannel }),
		sayToAlice: (message: string) => bus.emit('message', { message }, alice),
		demo: () => demo.health.current,
		user: () => user.health.current
	};
}

test('what is on its way slowly is not overtaken, and arrives when the fault ends', () => {
	const { bus, heard, say } = open();
	const quick = bus.slow(1_000);
	say('1');
	vi.advanceTimersByTime(900);
	say('2');
	expect(heard).toEqual([]);
	vi.advanceTimersByTime(100);
	expect(heard).toEqual(['1']);
	quick();
	say('3');
	expect(heard).toEqual(['1', '2', '3']);
	vi.advanceTimersByTime(2_000);
	expect(heard).toEqual(['1', '2', '3']);
});

test('what is on its way slowly does not arrive in a silence or while the connection is cut', () => {
	for (const fault of ['silence', 'cut'] as const) {
		const { bus, heard, say } = open();
		const quick = bus.slow(100);
		say('1');
		const end = bus[fault]();
		say('2');
		vi.advanceTimersByTime(500);
		expect(heard).toEqual([]);
		quick();
		expect(heard).toEqual([]);
		end();
		expect(heard).toEqual(['1', '2']);
	}
});

test('a page notices a cut at once, however slow its line is, and its app is told', () => {
	const { bus, demo, onFailure } = open();
	const quick = bus.slow(1_000);
	const restore = bus.cut();
	expect(demo().status).toBe('connecting');
	expect(onFailure).toHaveBeenCalledExactlyOnceWith(
		expect.objectContaining({ source: 'stream', fatal: false })
	);
	quick();
	restore();
	expect(demo().status).toBe('connected');
});

test.each(['cut', 'silence'] as const)('%s twice lasts until both have ended', (fault) => {
	const { bus, heard, say } = open();
	const [first, second] = [bus[fault](), bus[fault]()];
	say('1');
	first();
	first();
	expect(heard).toEqual([]);
	second();
	expect(heard).toEqual(['1']);
});

test('the slower of two lines counts, whichever was first', () => {
	for (const [one, other] of [
		[100, 1_000],
		[1_000, 100]
	] as const) {
		const { bus, heard, say } = open();
		const ends = [bus.slow(one), bus.slow(other)];
		say('1');
		vi.advanceTimersByTime(500);
		expect(heard).toEqual([]);
		vi.advanceTimersByTime(500);
		expect(heard).toEqual(['1']);
		for (const end of ends) end();
	}
});

test('nothing of a denied channel arrives until it is allowed; other channels notice nothing', () => {
	const { bus, heard, say, sayToAlice, demo, user, onFailure } = open();
	const allow = bus.deny(demoChannel, { message: 'Not today.' });
	expect(demo()).toMatchObject({ status: 'degraded', code: 403, fatal: true });
	expect(user()).toMatchObject({ status: 'connected' });
	expect(onFailure).toHaveBeenCalledExactlyOnceWith(
		expect.objectContaining({ channelId: 'demo', status: 403, fatal: true, message: 'Not today.' })
	);
	say('1');
	sayToAlice('2');
	bus.resync('expired', { channel: demoChannel });
	expect(heard).toEqual(['alice: 2']);
	allow();
	expect(demo()).toMatchObject({ status: 'connected' });
	expect(heard).toEqual(['alice: 2', '1']);
});

test('whoever is denied stays denied when another fault ends, and when the page tries again', () => {
	const { bus, heard, say, demo, user, onFailure } = open();
	const allow = bus.deny(demoChannel);
	bus.backendDown()();
	expect(demo()).toMatchObject({ status: 'degraded', code: 403 });
	bus.cut()();
	expect(demo()).toMatchObject({ status: 'degraded', code: 403 });
	expect(user()).toMatchObject({ status: 'connected' });
	expect(onFailure.mock.calls.filter(([{ channelId }]) => channelId === 'demo')).toHaveLength(1);
	bus.reconnect();
	expect(demo()).toMatchObject({ status: 'degraded', code: 403 });
	expect(onFailure.mock.calls.filter(([{ channelId }]) => channelId === 'demo')).toHaveLength(2);
	say('1');
	expect(heard).toEqual([]);
	allow();
	expect(demo()).toMatchObject({ status: 'connected' });
	expect(heard).toEqual(['1']);
});

test('a channel that is subscribed during a fault has it, too', () => {
	vi.spyOn(console, 'warn').mockReturnValue();
	const bus = createTestBus([{ channel: demoChannel }]);
	const health = () => getRealtimeBusState(userChannel, 'alice', { bus }).health.current;
	const allow = bus.deny();
	const up = bus.backendDown();
	const stop = bus.subscribe(alice);
	expect(health()).toMatchObject({ status: 'degraded', code: 403 });
	allow();
	expect(health()).toMatchObject({
		status: 'connected',
		detail: expect.stringMatching(/unavailable/)
	});
	up();
	expect(health().detail).toBeUndefined();
	stop();
	const restore = bus.cut();
	bus.subscribe(alice);
	expect(health().status).toBe('connecting');
	restore();
	expect(health().status).toBe('connected');
});

test('an event is answered when the line is back', async () => {
	const say = defineEvent('say', { schema: z.object({ text: z.string() }) });
	const { bus } = open();
	bus.answer(say, () => 'said');
	const send = getRealtimeBusSend(say, { bus });
	for (const fault of [() => bus.cut(), () => bus.silence(), () => bus.slow(1_000)]) {
		const end = fault();
		const answered = vi.fn();
		const sent = send({ text: 'a' }).then(answered);
		await vi.advanceTimersByTimeAsync(500);
		expect(answered).not.toHaveBeenCalled();
		end();
		await vi.advanceTimersByTimeAsync(1);
		expect(answered).toHaveBeenCalled();
		await sent;
	}
	expect(bus.sent).toHaveLength(3);
});

test('what is no duration is refused', () => {
	const { bus } = open();
	for (const delayMs of [-1, NaN, Infinity]) {
		expect(() => bus.slow(delayMs)).toThrow(/zero or more milliseconds/);
	}
});
