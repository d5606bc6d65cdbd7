import { channel, topic, typeOnlyChannel } from '@inngest/realtime';
import { describe, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import type { RealtimeBus, RealtimeSubscription } from '../../src/lib/client/index.js';
import type { CheckedSubscriptions } from '../../src/lib/client/types.js';
import type { ChannelParams } from '../../src/lib/protocol/channel.js';
import { createTestBus } from '../../src/lib/testing/index.js';

const demo = channel('demo')
	.addTopic(topic('message').schema(z.object({ message: z.string() })))
	.addTopic(topic('admin-message').type<{ level: number }>());
const user = channel((userId: string) => `user:${userId}`).addTopic(
	topic('message').type<{ text: string }>()
);
const room = channel((org: string, id: number) => `room:${org}:${id}`).addTopic(
	topic('any').type<{ a?: string }>()
);
const maybe = channel((id?: string) => `maybe:${id ?? 'all'}`).addTopic(topic('any').type<1>());
const many = channel((ids: string[]) => `many:${ids.join('+')}`).addTopic(topic('any').type<1>());
const typed = typeOnlyChannel<typeof demo>('demo');
const next = Object.assign((params: { runId: string }) => ({ name: `pipeline:${params.runId}` }), {
	topics: { status: { schema: z.object({ done: z.boolean() }) } }
});

/** What a manager's `subscriptions` accept. */
declare function manager<const T extends readonly RealtimeSubscription[]>(
	subscriptions: T & CheckedSubscriptions<T>
): void;
declare const bus: RealtimeBus;

describe('a list of subscriptions', () => {
	test('is accepted where each fits its channel', () => {
		manager([
			{ channel: demo, topics: ['message'], params: { scope: 'limited' } },
			{ channel: user, channelParams: 'alice' },
			{ channel: room, channelParams: ['acme', 1] },
			{ channel: maybe },
			{ channel: maybe, channelParams: ['a'] },
			{ channel: many, channelParams: [['a', 'b']] },
			{ channel: typed, topics: ['message'], since: 'e-1' },
			{ channel: next, channelParams: { runId: 'a' }, run: true, topics: ['status', '$run'] },
			{ channel: user('bob'), history: 20 },
			{ channel: demo, since: null },
			{ channel: demo, since: undefined as string | undefined }
		]);
	});

	test('may be written elsewhere, where literal types are lost', () => {
		const subscriptions = [
			{ channel: demo, topics: ['message'] },
			{ channel: user, channelParams: 'alice' },
			{ channel: room, channelParams: ['acme', 1] }
		];
		manager(subscriptions);
		manager(['a', 'b'].map((id) => ({ channel: user, channelParams: id })));
		const annotated: RealtimeSubscription[] = [{ channel: user, channelParams: 'alice' }];
		manager(annotated);
		manager([{ channel: user, channelParams: 'alice' } as RealtimeSubscription<typeof user>]);
	});

	test('is refused where parameters are missing', () => {
		// @ts-expect-error the builder needs a text
		manager([{ channel: demo }, { channel: user }]);
		// @ts-expect-error the builder needs an object
		manager([{ channel: next }]);
		const elsewhere = [{ channel: demo }, { channel: user }];
		// @ts-expect-error the builder needs a text
		manager(elsewhere);
	});

	test('is refused where parameters are wrong', () => {
		// @ts-expect-error a text is wanted
		manager([{ channel: user, channelParams: 1 }]);
		// @ts-expect-error undefined is no text
		manager([{ channel: user, channelParams: undefined as string | undefined }]);
		// @ts-expect-error a number is wanted second
		manager([{ channel: room, channelParams: ['acme', 'b'] }]);
		// @ts-expect-error a channel without parameters takes none
		manager([{ channel: demo, channelParams: 'alice' }]);
		// @ts-expect-error the only argument is a list itself, and must be wrapped
		manager([{ channel: many, channelParams: ['a', 'b'] }]);
	});

	test('is refused where a topic does not exist', () => {
		// @ts-expect-error no such topic
		manager([{ channel: demo, topics: ['mesage'] }]);
		// @ts-expect-error a topic of another channel
		manager([{ channel: user, channelParams: 'a', topics: ['admin-message'] }]);
		// @ts-expect-error no such topic
		manager([{ channel: typed, topics: ['mesage'] }]);
	});

	test('is refused where it begins at two places', () => {
		// @ts-expect-error since and history exclude each other
		manager([{ channel: demo, since: 'e-1', history: 5 }]);
		// @ts-expect-error since and history exclude each other
		const one: RealtimeSubscription = { channel: demo, since: 'e-1', history: 5 };
	});
});

test('bus.subscribe checks its subscription', () => {
	expectTypeOf(bus.subscribe({ channel: user, channelParams: 'a' })).toEqualTypeOf<() => void>();
	// @ts-expect-error the builder needs a text
	bus.subscribe({ channel: user });
	// @ts-expect-error no such topic
	bus.subscribe({ channel: demo, topics: ['mesage'] });
	expectTypeOf(bus.status.current.status).toEqualTypeOf<
		'connecting' | 'connected' | 'degraded' | 'paused'
	>();
});

test('an only parameter that is a list must be wrapped', () => {
	expectTypeOf<ChannelParams<typeof many>>().toEqualTypeOf<readonly [string[]]>();
	expectTypeOf<ChannelParams<typeof user>>().toEqualTypeOf<string | readonly [string]>();
});

test('a test bus knows topics and their data', () => {
	const testBus = createTestBus([{ channel: demo }, { channel: user, channelParams: 'alice' }]);
	testBus.emit('admin-message', { level: 1 });
	testBus.emit('message', { message: 'a' }, { channel: demo });
	testBus.emit('message', { text: 'a' }, { channel: user, channelParams: 'alice' });
	testBus.emit('$run', { status: 'completed' });
	// @ts-expect-error no such topic
	testBus.emit('mesage', {});
	// @ts-expect-error not what the topic carries
	testBus.emit('admin-message', { level: 'high' });
	// @ts-expect-error not what the topic carries in that channel
	testBus.emit('message', { text: 'a' }, { channel: demo });
	// @ts-expect-error the channel has no such topic
	testBus.emit('admin-message', { level: 1 }, { channel: user });
	testBus.health('degraded', { channel: demo, fatal: true });
	testBus.resync('expired');
	// @ts-expect-error no such reason
	testBus.resync('because');
	// @ts-expect-error the builder needs a text
	createTestBus([{ channel: user }]);
});
