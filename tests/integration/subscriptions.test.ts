import { error } from '@sveltejs/kit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RealtimeServerFailureContext } from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { deferred, eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

const channelParams = (_event: unknown, id: string): string =>
	id.startsWith('user:') ? id.slice(5) : '';

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams,
		authorize: ({ channelId }: { channelId: string }) =>
			channelId === 'user:banned' ? error(401, 'You are banned') : channelId !== 'user:bob'
	}
};

test('channels that fail are told so one by one, while the others stream', async () => {
	world = await startWorld({ channels, onFailure });
	const stream = await world.open({
		subscriptions: [
			{ channel: 'demo' },
			{ channel: 'user:bob' },
			{ channel: 'user:banned' },
			{ channel: 'nowhere' },
			{ channel: 'user:alice', topics: ['nope'] }
		]
	});
	await stream.connected('demo');
	await stream.when(() => stream.statuses.filter((status) => status === 'degraded').length === 4);
	const common = { status: 'degraded', ok: false, fatal: true };
	expect(stream.health('user:bob')).toMatchObject([
		{
			...common,
			stage: 'authorization',
			code: 403,
			detail: 'Not allowed to read this realtime channel.'
		}
	]);
	expect(stream.health('user:banned')).toMatchObject([
		{ ...common, stage: 'authorization', code: 401, detail: 'You are banned' }
	]);
	expect(stream.health('nowhere')).toMatchObject([
		{
			...common,
			stage: 'channel-resolution',
			code: 400,
			detail: 'Requested channel is not available'
		}
	]);
	expect(stream.health('user:alice')).toMatchObject([
		{ ...common, stage: 'topic-validation', code: 400, detail: 'Unknown topics: nope' }
	]);
	await world.publish('demo', 'message', { message: 'still here' });
	await stream.when(() => stream.messages.length === 1);
	expect(failures.map(({ stage, channelId }) => `${stage} ${channelId}`).sort()).toEqual([
		'authorization user:banned',
		'authorization user:bob',
		'channel-resolution nowhere',
		'topic-validation user:alice'
	]);
	expect(world.realtime.stats()).toMatchObject({ streams: 1, hub: { feeds: 1 } });
});

test('a stream ends with its last channel', async () => {
	world = await startWorld({ channels, onFailure });
	const stream = await world.open({
		subscriptions: [{ channel: 'user:bob' }, { channel: 'nowhere' }]
	});
	await stream.end();
	expect(stream.statuses).toEqual(['degraded', 'degraded']);
	expect(world.realtime.stats()).toMatchObject({ streams: 0, hub: { feeds: 0 } });
});

test('the headers of a stream wait for no answer of authorize', async () => {
	const answer = deferred<boolean>();
	world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: () => answer.promise } }
	});
	const stream = await world.open({ subscriptions: [{ channel: 'demo' }] });
	expect(stream.response.status).toBe(200);
	answer.resolve(true);
	await stream.connected('demo');
});

test('a channel starts when its own answer is there, whatever the others wait for', async () => {
	const slow = deferred<boolean>();
	world = await startWorld({
		channels: {
			demo: { channel: demoChannel, authorize: () => slow.promise },
			user: { channel: userChannel, channelParams, authorize: () => true }
		}
	});
	const stream = await world.open({
		subscriptions: [{ channel: 'demo' }, { channel: 'user:alice' }]
	});
	await stream.connected('user:alice');
	expect(stream.health('demo')).toEqual([]);
	slow.resolve(true);
	await stream.connected('demo');
});

test('at most ten channels of a request are authorized at the same time', async () => {
	let running = 0;
	let most = 0;
	const answers: (() => void)[] = [];
	world = await startWorld({
		channels: {
			user: {
				channel: userChannel,
				channelParams,
				authorize: async () => {
					most = Math.max(most, ++running);
					const answer = deferred();
					answers.push(answer.resolve);
					await answer.promise;
					running--;
					return true;
				}
			}
		}
	});
	const subscriptions = Array.from({ length: 25 }, (_, n) => ({ channel: `user:${n}` }));
	const stream = await world.open({ subscriptions });
	await eventually(() => answers.length === 10);
	answers.shift()!();
	await eventually(() => answers.length === 10);
	await eventually(() => {
		for (const answer of answers.splice(0)) answer();
		return new Set(stream.frames.map(({ data }) => data.channel)).size === 25;
	});
	expect(most).toBe(10);
	for (const { channel } of subscriptions) await stream.connected(channel);
});

test.each([
	['an empty list', { subscriptions: [] }, 'empty'],
	['no list', { subscriptions: 'demo' }, 'subscriptions'],
	['one that names no channel', { subscriptions: [{ channel: 'demo' }, {}] }, 'subscriptions.1'],
	['one whose topics are no list', { subscriptions: [{ channel: 'demo', topics: 1 }] }, 'topics'],
	[
		'one channel twice',
		{ subscriptions: [{ channel: 'demo' }, { channel: 'demo' }] },
		'subscribed to twice'
	]
])('400 request-validation for subscriptions with %s', async (_, body, text) => {
	world = await startWorld({ channels, onFailure });
	const answer = await world.post(body);
	expect(answer.status).toBe(400);
	expect(answer.body.error).toContain(text);
	expect(failures).toMatchObject([{ stage: 'request-validation', status: 400 }]);
});

test('every channel of a stream has a cursor of its own, which does not ride on health events', async () => {
	world = await startWorld({ channels });
	const stream = await world.open({
		subscriptions: [{ channel: 'demo' }, { channel: 'user:alice' }]
	});
	await stream.connected('demo');
	await stream.connected('user:alice');
	await world.publish('demo', 'message', { message: '1' });
	await stream.when(() => stream.messages.length === 1);
	const health = stream.frames.filter(({ event }) => event === 'health');
	expect(health.every(({ id }) => id === undefined)).toBe(true);
	const cursors = ['demo', 'user:alice'].map((channel) => stream.health(channel).at(-1)!.cursor!);
	expect(new Set(cursors).size).toBe(2);
	stream.close();
	await world.publish('demo', 'message', { message: '2' });
	await world.publish('user:alice', 'message', { message: '3' });
	const again = await world.open({
		subscriptions: [
			{ channel: 'demo', lastEventId: stream.lastId },
			{ channel: 'user:alice', lastEventId: cursors[1] }
		]
	});
	await again.when(() => again.messages.length === 2);
	expect(again.texts.sort()).toEqual(['2', '3']);
	expect(again.frames.some(({ event }) => event === 'resync')).toBe(false);
});
