import { typeOnlyChannel } from '@inngest/realtime';
import { expect, test } from 'vitest';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import { demo, room, user } from '../support/client/channels.js';

const resolve = (...list: Parameters<typeof resolveSubscriptions>[0]) => [
	...resolveSubscriptions(list).values()
];

test('topics default to all of the channel and are deduplicated and sorted', () => {
	expect(resolve({ channel: demo })).toEqual([{ channelId: 'demo', topics: ['count', 'message'] }]);
	expect(resolve({ channel: demo, topics: ['message', 'count', 'message'] })).toEqual([
		{ channelId: 'demo', topics: ['count', 'message'] }
	]);
});

test('a builder takes its only argument, or a list of arguments', () => {
	expect(resolve({ channel: user, channelParams: 'alice' })[0]?.channelId).toBe('user:alice');
	expect(resolve({ channel: user, channelParams: ['alice'] })[0]?.channelId).toBe('user:alice');
	expect(resolve({ channel: room, channelParams: ['acme', 1] })[0]?.channelId).toBe('room:acme:1');
});

test('channels of both SDK generations resolve', () => {
	const topics = { status: { schema: {} as never } };
	const fixed = { name: 'fixed', topics };
	const built = Object.assign(({ id }: { id: string }) => ({ name: `built:${id}` }), { topics });
	expect(resolve({ channel: fixed })[0]).toEqual({ channelId: 'fixed', topics: ['status'] });
	expect(resolve({ channel: built, channelParams: { id: 'a' } })[0]?.channelId).toBe('built:a');
});

test('run: true adds the lifecycle topic', () => {
	expect(resolve({ channel: user, channelParams: 'a', run: true })[0]?.topics).toEqual([
		'$run',
		'message'
	]);
});

test('two subscriptions of one channel throw and name it', () => {
	expect(() =>
		resolve({ channel: user, channelParams: 'alice' }, { channel: user('alice') })
	).toThrowError(
		expect.objectContaining({
			code: 'DUPLICATE_CHANNEL',
			message: expect.stringContaining('"user:alice"')
		})
	);
});

test('a channel without topics throws and says what to do', () => {
	const channel = typeOnlyChannel<typeof demo>('demo');
	expect(() => resolve({ channel })).toThrowError(
		expect.objectContaining({
			code: 'INVALID_OPTION',
			message: expect.stringMatching(/"demo".*typeOnlyChannel/)
		})
	);
	expect(resolve({ channel, topics: ['message'] })).toEqual([
		{ channelId: 'demo', topics: ['message'] }
	]);
});
