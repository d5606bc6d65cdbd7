import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { demo, user } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';
import type { FakeStream } from '../support/client/endpoint.js';

let client: Client;
let first: FakeStream;
const alice = { channel: user, channelParams: 'alice' };

beforeEach(async () => {
	vi.useFakeTimers();
	vi.spyOn(Math, 'random').mockReturnValue(1);
	client = new Client();
	await client.subscribe({ channel: demo });
	first = client.endpoint.last.accept('e-0');
	await settle(1000);
});
afterEach(() => {
	client.bus.close();
	expect(vi.getTimerCount()).toBe(0);
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

describe('when channels are added', () => {
	test('the new stream opens with cursors before the old one closes', async () => {
		first.message('demo', 'count', 1, 'e-1');
		await settle();
		await client.subscribe({ channel: demo }, alice);
		const second = client.endpoint.last;
		expect(second).not.toBe(first);
		expect(second.subscriptions).toEqual([
			{ channel: 'demo', topics: ['count', 'message'], lastEventId: 'e-1' },
			{ channel: 'user:alice', topics: ['message'] }
		]);
		expect(first.aborted).toBe(false);
		second.open();
		await settle();
		expect(first.aborted).toBe(false);
		second.health('demo', 'connecting').health('demo', 'connected', { cursor: 'e-1' });
		await settle();
		expect(first.aborted).toBe(true);
	});

	test('a gap that both streams tell of is announced once', async () => {
		await client.subscribe({ channel: demo }, alice);
		const second = client.endpoint.last;
		first.resync('demo', 'upstream-gap', 'e-1').message('demo', 'count', 1, 'e-2');
		await settle();
		second.open().health('demo', 'connecting').resync('demo', 'upstream-gap', 'e-1');
		second.message('demo', 'count', 1, 'e-2').health('demo', 'connected', { cursor: 'e-2' });
		await settle();
		expect(client.heard.demo).toEqual([1]);
		expect(client.resyncs).toHaveLength(1);
	});

	test('a channel that the new stream starts and ends is not shown as connected', async () => {
		await client.subscribe({ channel: demo }, alice);
		client.endpoint.last.accept('e-0');
		await settle(1000);
		await client.subscribe({ channel: demo }, alice, { channel: user, channelParams: 'bob' });
		const third = client.endpoint.last.open().health('demo', 'connected', { cursor: 'e-0' });
		third.health('demo', 'degraded', { code: 403, fatal: true, detail: 'Not yours' });
		third.health('user:alice', 'connected').health('user:bob', 'connected');
		await settle(10_000);
		expect(client.health('demo')).toMatchObject({ status: 'degraded', detail: 'Not yours' });
	});

	test('messages that both streams carry arrive once and in order', async () => {
		await client.subscribe({ channel: demo }, alice);
		const second = client.endpoint.last;
		first.message('demo', 'count', 1, 'e-1').message('demo', 'count', 2, 'e-2');
		await settle();
		second.open().health('demo', 'connecting').message('demo', 'count', 1, 'e-1');
		await settle();
		second.message('demo', 'count', 2, 'e-2').message('demo', 'count', 3, 'e-3');
		await settle();
		first.message('demo', 'count', 3, 'e-3');
		second.health('demo', 'connected', { cursor: 'e-3' }).message('demo', 'count', 4, 'e-4');
		await settle();
		expect(client.heard.demo).toEqual([1, 2, 3, 4]);
	});

	test('the health of a channel that stays does not flicker', async () => {
		client.healths.demo = [];
		client
			.state('demo')
			.healthChanges.listen(() => client.healths.demo?.push(client.health('demo').status));
		await client.subscribe({ channel: demo }, alice);
		const second = client.endpoint.last.open();
		await settle(500);
		second.health('demo', 'connecting').health('user:alice', 'connecting');
		await settle(500);
		expect(client.health('user:alice').status).toBe('connecting');
		second.health('user:alice', 'connected', { cursor: 'f-0' });
		await settle();
		expect(client.health('user:alice').status).toBe('connected');
		second.health('demo', 'connected', { cursor: 'e-0' });
		await settle();
		expect(client.healths.demo).not.toContain('connecting');
		expect(client.health('demo').ok).toBe(true);
	});

	test('the old stream goes on while the new one cannot be had', async () => {
		await client.subscribe({ channel: demo }, alice);
		client.endpoint.last.refuse(503, 'Down');
		await settle();
		first.message('demo', 'count', 1, 'e-1');
		await settle();
		expect(client.heard.demo).toEqual([1]);
		expect(client.health('demo').status).toBe('connected');
		expect(client.health('user:alice').detail).toContain('Down');
		await settle(500);
		expect(client.endpoint.streams).toHaveLength(3);
		expect(client.endpoint.last.subscriptions[0]?.lastEventId).toBe('e-1');
		client.endpoint.last.accept();
		await settle();
		expect(client.health('user:alice').status).toBe('connected');
		expect(first.aborted).toBe(true);
	});

	test('a refusal as a whole ends what was there before as well', async () => {
		await client.subscribe({ channel: demo }, alice);
		client.endpoint.last.refuse(400, 'Too many subscriptions');
		await settle();
		expect(first.aborted).toBe(true);
		for (const channel of ['demo', 'user:alice']) {
			expect(client.health(channel)).toMatchObject({ status: 'degraded', code: 400, fatal: true });
		}
	});

	test('an old stream that breaks meanwhile leaves the rest to the new one', async () => {
		await client.subscribe({ channel: demo }, alice);
		first.message('demo', 'count', 1, 'e-1');
		await settle();
		first.fail();
		await settle();
		expect(client.health('demo').status).toBe('connecting');
		expect(client.endpoint.streams).toHaveLength(2);
		client.endpoint.last.accept().message('demo', 'count', 2, 'e-2');
		await settle();
		expect(client.heard.demo).toEqual([1, 2]);
		expect(client.health('demo').status).toBe('connected');
	});
});

describe('when a channel is removed', () => {
	test('what still comes for it is ignored', async () => {
		await client.subscribe({ channel: demo }, alice);
		const second = client.endpoint.last.accept('f-0');
		await settle(1000);
		const state = client.state('user:alice');
		await client.subscribe({ channel: demo });
		second.message('user:alice', 'message', { message: 'late' }, 'f-1');
		await settle();
		expect(client.heard['user:alice']).toEqual([]);
		expect(state.health).toMatchObject({ ok: false, status: 'degraded' });
		client.endpoint.last.accept();
		await settle();
		expect(second.aborted).toBe(true);
	});

	test('and wanted again while the stream still has it, it resumes where it was left', async () => {
		await client.subscribe({ channel: demo }, alice);
		const second = client.endpoint.last.accept('e-0');
		await settle();
		const state = client.state('demo');
		await client.subscribe(alice);
		second.message('demo', 'count', 1, 'e-1');
		await settle();
		// As a hook does, this holds on to the state meanwhile.
		client.bus.state('demo', state);
		await client.subscribe({ channel: demo, topics: ['count'] }, alice);
		second.message('demo', 'message', 'of a topic that is not wanted', 'e-2');
		second.message('demo', 'count', 2, 'e-3');
		await settle(250);
		const third = client.endpoint.last;
		expect(third.subscriptions[0]).toMatchObject({ topics: ['count'], lastEventId: 'e-0' });
		third.open().health('demo', 'connecting').health('user:alice', 'connected');
		third.message('demo', 'count', 1, 'e-1').message('demo', 'count', 2, 'e-3');
		await settle();
		expect(client.heard.demo).toEqual([1, 2]);
		expect(second.aborted).toBe(true);
	});

	test('while the stream is being replaced, the replacement does not wait for it', async () => {
		await client.subscribe({ channel: demo }, alice);
		const second = client.endpoint.last.accept('e-0');
		await settle(1000);
		await client.subscribe({ channel: demo }, alice, { channel: user, channelParams: 'bob' });
		const third = client.endpoint.last.open();
		await client.subscribe(alice, { channel: user, channelParams: 'bob' });
		for (const channel of ['demo', 'user:alice', 'user:bob']) third.health(channel, 'connecting');
		third.health('user:alice', 'connected');
		await settle();
		expect(second.aborted).toBe(true);
	});

	test('the last one takes the stream with it', async () => {
		await client.subscribe();
		expect(first.aborted).toBe(true);
		expect(client.endpoint.streams).toHaveLength(1);
	});

	test('streams without a common channel do not wait for each other', async () => {
		await client.subscribe(alice);
		expect(first.aborted).toBe(true);
		expect(client.endpoint.last.body).toEqual({ channel: 'user:alice', topics: ['message'] });
	});
});

describe('when the topics of a channel change', () => {
	const narrowed = { channel: demo, topics: ['count'] };
	const narrowedBeside = (others: (typeof alice)[]) => client.subscribe(narrowed, ...others);

	/** Has both channels on one stream. */
	const both = async () => {
		await client.subscribe({ channel: demo }, alice);
		const stream = client.endpoint.last.accept('e-0');
		await settle(1000);
		return stream;
	};

	test('it pauses on the old stream, and the new one replays it from its cursor', async () => {
		const old = await both();
		await narrowedBeside([alice]);
		const second = client.endpoint.last;
		expect(second.subscriptions[0]).toEqual({
			channel: 'demo',
			topics: ['count'],
			lastEventId: 'e-0'
		});
		old.message('demo', 'count', 1, 'e-1').health('demo', 'connected', { cursor: 'e-1' });
		await settle();
		expect(client.heard.demo).toEqual([]);
		expect(client.health('demo').status).toBe('connecting');
		expect(client.state('demo').cursor).toBe('e-0');
		second.open().health('demo', 'connecting').message('demo', 'count', 1, 'e-1');
		await settle();
		old.message('demo', 'count', 2, 'e-2');
		second.message('demo', 'count', 2, 'e-2').health('demo', 'connected', { cursor: 'e-2' });
		second.health('user:alice', 'connected');
		await settle();
		expect(client.heard.demo).toEqual([1, 2]);
		expect(client.health('demo').status).toBe('connected');
		expect(old.aborted).toBe(true);
	});

	test('the other channels of the stream see no gap, no repeat and no flicker', async () => {
		const old = await both();
		client.healths['user:alice']!.length = 0;
		await narrowedBeside([alice]);
		old.message('user:alice', 'message', { message: 'on' }, 'f-1');
		await settle();
		const second = client.endpoint.last.open().health('demo', 'connected', { cursor: 'e-0' });
		second.message('user:alice', 'message', { message: 'on' }, 'f-1');
		second.health('user:alice', 'connected', { cursor: 'f-1' });
		await settle();
		expect(client.heard['user:alice']).toEqual([{ message: 'on' }]);
		expect(client.healths['user:alice']).not.toContain('connecting');
	});

	test('the only channel of a stream closes it at once', async () => {
		await client.subscribe(narrowed);
		expect(first.aborted).toBe(true);
		expect(client.endpoint.last.body).toMatchObject({ topics: ['count'], lastEventId: 'e-0' });
	});

	test('messages of an added topic that are older than those of the old stream are not lost', async () => {
		await narrowedBeside([alice]);
		const narrow = client.endpoint.last.accept('e-0');
		await settle(1000);
		await client.subscribe({ channel: demo }, alice);
		narrow.message('demo', 'count', 5, 'e-5');
		await settle();
		client.endpoint.last
			.open()
			.health('demo', 'connecting')
			.message('demo', 'message', { message: 'four' }, 'e-4')
			.message('demo', 'count', 5, 'e-5')
			.health('demo', 'connected', { cursor: 'e-5' });
		await settle();
		expect(client.heard.demo).toEqual([{ message: 'four' }, 5]);
	});

	test('a new stream that fails leaves it to the retry, which replays it', async () => {
		const old = await both();
		await narrowedBeside([alice]);
		old.message('demo', 'count', 1, 'e-1').message('demo', 'count', 2, 'e-2');
		client.endpoint.last.fail();
		await settle();
		expect(client.heard.demo).toEqual([]);
		expect(client.health('demo')).toMatchObject({ status: 'connecting' });
		old.message('user:alice', 'message', { message: 'on' }, 'f-1');
		await settle(500);
		expect(client.heard['user:alice']).toHaveLength(1);
		expect(client.endpoint.last.subscriptions[0]?.lastEventId).toBe('e-0');
		client.endpoint.last
			.open()
			.message('demo', 'count', 1, 'e-1')
			.message('demo', 'count', 2, 'e-2');
		await settle();
		expect(client.heard.demo).toEqual([1, 2]);
	});

	test('what the new stream cannot replay is announced once, and what follows comes once', async () => {
		const old = await both();
		await narrowedBeside([alice]);
		old.message('demo', 'count', 1, 'e-1').message('demo', 'count', 3, 'e-3');
		await settle();
		client.endpoint.last
			.open()
			.health('demo', 'connecting')
			.resync('demo', 'expired', 'e-2')
			.message('demo', 'count', 3, 'e-3')
			.health('demo', 'connected', { cursor: 'e-3' });
		old.message('demo', 'count', 4, 'e-4');
		client.endpoint.last.message('demo', 'count', 4, 'e-4');
		await settle();
		expect(client.heard.demo).toEqual([3, 4]);
		expect(client.resyncs).toHaveLength(1);
	});

	test('a denial by the old stream says nothing of the new subscription', async () => {
		const old = await both();
		await narrowedBeside([alice]);
		old.health('demo', 'degraded', { code: 403, fatal: true, detail: 'Revoked' });
		await settle();
		expect(client.health('demo').status).toBe('connecting');
		client.endpoint.last.accept('e-0');
		await settle();
		expect(client.health('demo').status).toBe('connected');
		expect(client.failures).toEqual([]);
	});

	test('a denial of the new topics ends it, and the old stream with it', async () => {
		const old = await both();
		await narrowedBeside([alice]);
		old.message('demo', 'count', 1, 'e-1');
		await settle();
		client.endpoint.last.open().health('user:alice', 'connected');
		client.endpoint.last.health('demo', 'degraded', { detail: 'Not you', fatal: true });
		await settle();
		expect(client.heard.demo).toEqual([]);
		expect(client.health('demo')).toMatchObject({ status: 'degraded', detail: 'Not you' });
		expect(old.aborted).toBe(true);
	});

	test('a handler that reconnects orphans no stream', async () => {
		await client.subscribe(narrowed);
		let times = 0;
		client.state('demo').frames.listen(() => {
			if (times++ === 0) client.bus.reconnect();
		});
		client.endpoint.onRequest = (stream) =>
			setTimeout(() => {
				stream.open().health('demo', 'connecting').message('demo', 'count', 1, 'e-1');
				stream.health('demo', 'connected', { cursor: 'e-1' });
			}, 20);
		await client.subscribe({ channel: demo, params: { scope: 'a' } });
		await settle(10_000);
		expect(client.heard.demo).toEqual([1]);
		expect(client.endpoint.open).toHaveLength(1);
		expect(client.health('demo').status).toBe('connected');
	});

	test('changed parameters are a changed subscription', async () => {
		await client.subscribe({ channel: demo, params: { scope: 'limited' } });
		first.message('demo', 'count', 1, 'e-1');
		await settle();
		expect(client.heard.demo).toEqual([]);
		client.endpoint.last.accept('e-0').message('demo', 'count', 1, 'e-1');
		await settle();
		expect(client.heard.demo).toEqual([1]);
	});

	test('another order of channels or topics is no change', async () => {
		await client.subscribe({ channel: demo, params: { a: 1, b: 2 } });
		client.endpoint.last.accept();
		await settle(1000);
		await client.subscribe({
			channel: demo,
			topics: ['message', 'count', 'message'],
			params: { a: 1, b: 2 }
		});
		await settle(1000);
		expect(client.endpoint.streams).toHaveLength(2);
	});
});

describe('a browser with no connection left', () => {
	test('gets the one of the old stream when the new one has no headers within 2 s', async () => {
		await client.subscribe({ channel: demo }, alice);
		first.message('demo', 'count', 1, 'e-1');
		await settle(1999);
		expect(first.aborted).toBe(false);
		await settle(1);
		expect(first.aborted).toBe(true);
		expect(client.endpoint.streams).toHaveLength(2);
		const second = client.endpoint.last.accept('e-0');
		second.message('demo', 'count', 1, 'e-1').message('demo', 'count', 2, 'e-2');
		await settle();
		expect(client.heard.demo).toEqual([1, 2]);
		expect(client.health('demo').status).toBe('connected');
	});

	test('closes the old stream on 429 and asks again at once', async () => {
		await client.subscribe({ channel: demo }, alice);
		client.endpoint.last.refuse(429, 'One stream each', { 'retry-after': '60' });
		await settle();
		expect(first.aborted).toBe(true);
		expect(client.endpoint.streams).toHaveLength(3);
		client.endpoint.last.refuse(429, 'One stream each', { 'retry-after': '60' });
		await settle(59_999);
		expect(client.endpoint.streams).toHaveLength(3);
		await settle(1);
		expect(client.endpoint.streams).toHaveLength(4);
	});
});

describe('rapid changes', () => {
	test('within one second become few requests, the last of which has what is wanted', async () => {
		client.endpoint.onRequest = (stream) => stream.accept('e-0');
		for (let i = 1; i <= 10; i++) {
			await client.subscribe({ channel: demo }, { channel: user, channelParams: String(i) });
			await settle(100);
		}
		await settle(1000);
		expect(client.endpoint.streams.length).toBeLessThan(8);
		expect(client.endpoint.last.subscriptions[1]?.channel).toBe('user:10');
		expect(client.endpoint.open).toHaveLength(1);
		expect(client.health('user:10').status).toBe('connected');
	});

	test('wait for the replacement that is under way', async () => {
		await client.subscribe({ channel: demo }, alice);
		const second = client.endpoint.last;
		await client.subscribe({ channel: demo }, { channel: user, channelParams: 'bob' });
		await settle(300);
		expect(client.endpoint.last).toBe(second);
		second.accept('e-0');
		await settle(300);
		expect(client.endpoint.last.subscriptions[1]?.channel).toBe('user:bob');
	});

	test('do not wait for a request that has no answer after 2 s', async () => {
		await client.subscribe(alice);
		const stuck = client.endpoint.last;
		await client.subscribe({ channel: demo });
		await settle(2000);
		expect(stuck.aborted).toBe(true);
		expect(client.endpoint.last.body.channel).toBe('demo');
	});
});

test('a channel that stays in connecting does not keep the old stream for longer than 2 s', async () => {
	await client.subscribe({ channel: demo }, alice);
	const second = client.endpoint.last.open();
	second.health('demo', 'connecting').health('user:alice', 'connected', { cursor: 'f-0' });
	await settle(1_999);
	expect(first.aborted).toBe(false);
	await settle(1);
	expect(first.aborted).toBe(true);
	expect(client.health('demo')).toMatchObject({ ok: false, status: 'connecting' });
	expect(client.health('user:alice').status).toBe('connected');
});
