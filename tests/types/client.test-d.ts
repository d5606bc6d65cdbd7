import { channel, topic, typeOnlyChannel } from '@inngest/realtime';
import { describe, expectTypeOf, test } from 'vitest';
import type { Readable } from 'svelte/store';
import type { SourceSelect } from 'sveltekit-sse';
import { z } from 'zod';
import {
	getRealtimeBusChannel,
	getRealtimeBusRun,
	getRealtimeBusState,
	getRealtimeBusTopicJson,
	getRealtimeBusTopicMessages,
	getRealtimeBusTopicState,
	getRealtimeBusTopicStream,
	type HealthPayload,
	type Positioned,
	type ReactiveCurrent,
	type RealtimeBus,
	type RealtimeManagerProps,
	type RealtimeRunOptions,
	type RealtimeRunStatus,
	type RealtimeSubscription,
	type RealtimeTopicOptions,
	type RealtimeTopicMessage
} from '../../src/lib/client/index.js';

const demo = channel('demo')
	.addTopic(topic('message').schema(z.object({ message: z.string() })))
	.addTopic(topic('admin-message').type<{ level: number }>());
const user = channel((userId: string) => `user:${userId}`).addTopic(
	topic('message').type<{ message: string }>()
);
const room = channel((org: string, id: number) => `room:${org}:${id}`).addTopic(
	topic('any').type<{ a?: string }>()
);
const typed = typeOnlyChannel<typeof demo>('demo');

/** A channel of inngest 4 as its types describe it. */
const pipeline = (params: { runId: string }) => ({ name: `pipeline:${params.runId}`, topics });
const topics = { status: { schema: z.object({ done: z.boolean() }) } };
const next = Object.assign(pipeline, { topics });

describe('subscriptions', () => {
	test('a list of different channels needs no annotation', () => {
		const subscriptions = [{ channel: demo }, { channel: user, channelParams: 'alice' }];
		expectTypeOf(subscriptions).toExtend<RealtimeManagerProps['subscriptions']>();
		const more = [
			{ channel: demo, topics: ['message'], params: { scope: 'limited' } },
			{ channel: room, channelParams: ['acme', 1] },
			{ channel: typed, topics: ['message'] },
			{ channel: next, channelParams: { runId: 'a' }, run: true },
			{ channel: user('bob') }
		];
		expectTypeOf(more).toExtend<RealtimeManagerProps['subscriptions']>();
	});
	test('with its channel named, parameters and topics are checked', () => {
		expectTypeOf<{
			channel: typeof user;
			channelParams: string;
			topics: ['message'];
		}>().toExtend<RealtimeSubscription<typeof user>>();
		expectTypeOf<{ channel: typeof user; channelParams: number }>().not.toExtend<
			RealtimeSubscription<typeof user>
		>();
		expectTypeOf<{ channel: typeof user; topics: ['other'] }>().not.toExtend<
			RealtimeSubscription<typeof user>
		>();
	});
});

describe('topic hooks', () => {
	test('a topic gives its message, or null before the first', () => {
		expectTypeOf(getRealtimeBusTopicState(demo, 'message')).toEqualTypeOf<
			ReactiveCurrent<Positioned<RealtimeTopicMessage<typeof demo, 'message'>> | null>
		>();
		const state = getRealtimeBusTopicState(demo, 'message');
		expectTypeOf(state.current!.data).toEqualTypeOf<{ message: string }>();
	});
	test('explicit type arguments stay legal', () => {
		const state = getRealtimeBusTopicState<typeof demo, 'admin-message'>(demo, 'admin-message');
		expectTypeOf(state.current!.data.level).toEqualTypeOf<number>();
		const store = getRealtimeBusTopicJson<typeof demo, 'message'>(demo, 'message');
		expectTypeOf(store).toEqualTypeOf<
			Readable<Positioned<RealtimeTopicMessage<typeof demo, 'message'>> | null>
		>();
	});
	test('map gives its output, initial takes null away', () => {
		const mapped = getRealtimeBusTopicState(demo, 'message', { map: ({ data }) => data.message });
		expectTypeOf(mapped.current).toEqualTypeOf<string | null>();
		const initial = getRealtimeBusTopicState(demo, 'admin-message', {
			map: ({ data }) => data.level,
			initial: 0
		});
		expectTypeOf(initial.current).toEqualTypeOf<number>();
		const maybe = getRealtimeBusTopicState(demo, 'admin-message', {
			map: ({ data }) => data.level,
			initial: 0 as number | null
		});
		expectTypeOf(maybe.current).toEqualTypeOf<number | null>();
		const explicit = getRealtimeBusTopicState<typeof demo, 'admin-message', number>(
			demo,
			'admin-message',
			{ map: ({ data }) => data.level, initial: 1 }
		);
		// Written out, the type of `initial` is not inferred.
		expectTypeOf(explicit.current).toEqualTypeOf<number | null>();
		const store = getRealtimeBusTopicJson(demo, 'message', {
			map: ({ data }) => data.message,
			or: ({ error, raw, previous }) => previous ?? `${raw}${error.message}`,
			initial: ''
		});
		expectTypeOf(store).toEqualTypeOf<Readable<string>>();
	});
	test('initial and or add to the output, and do not say what a message is', () => {
		type Message = Positioned<RealtimeTopicMessage<typeof demo, 'message'>>;
		const empty = getRealtimeBusTopicState(demo, 'message', { initial: null });
		expectTypeOf(empty.current).toEqualTypeOf<Message | null>();
		const text = getRealtimeBusTopicState(demo, 'message', { initial: 'nothing yet' });
		expectTypeOf(text.current).toEqualTypeOf<Message | string>();
		const fallback = getRealtimeBusTopicJson(demo, 'message', { or: () => 5 });
		expectTypeOf(fallback).toEqualTypeOf<Readable<Message | number | null>>();
		const either = getRealtimeBusTopicState(demo, 'message', {
			map: ({ data }) => data.message,
			or: () => null,
			initial: ''
		});
		expectTypeOf(either.current).toEqualTypeOf<string | null>();
	});
	test('options that were typed before say the output', () => {
		const options: RealtimeTopicOptions<typeof demo, 'message', string> = {
			map: ({ data }) => data.message
		};
		const state = getRealtimeBusTopicState(demo, 'message', options);
		expectTypeOf(state.current).toEqualTypeOf<string | null>();
	});
	test('a topic that the channel lacks is refused', () => {
		// @ts-expect-error no such topic
		getRealtimeBusTopicState(demo, 'other');
		// @ts-expect-error no such topic
		getRealtimeBusState(demo).onMessage('other', () => {});
	});
	test('parameters are those of the builder', () => {
		getRealtimeBusTopicState(user, 'message', { channelParams: 'alice' });
		getRealtimeBusTopicState(room, 'any', { channelParams: ['acme', 1] });
		getRealtimeBusTopicState(next, 'status', { channelParams: { runId: 'a' } });
		// @ts-expect-error a string is wanted
		getRealtimeBusTopicState(user, 'message', { channelParams: 1 });
		// @ts-expect-error a channel without parameters takes none
		getRealtimeBusTopicState(demo, 'message', { channelParams: 'alice' });
	});
	test('arguments may be functions', () => {
		const state = getRealtimeBusTopicState(
			() => user,
			() => 'message' as const,
			{ channelParams: () => 'alice' }
		);
		expectTypeOf(state.current!.data).toEqualTypeOf<{ message: string }>();
		const plain = getRealtimeBusTopicState(() => demo, 'message');
		expectTypeOf(plain.current!.data).toEqualTypeOf<{ message: string }>();
		// @ts-expect-error no such topic
		getRealtimeBusTopicState(() => demo, 'other');
	});
	test('channels of both SDK generations and typeOnlyChannel are understood', () => {
		const status = getRealtimeBusTopicState(next, 'status', { channelParams: { runId: 'a' } });
		expectTypeOf(status.current!.data).toEqualTypeOf<{ done: boolean }>();
		const message = getRealtimeBusTopicState(typed, 'message');
		expectTypeOf(message.current!.data).toEqualTypeOf<{ message: string }>();
		const instance = getRealtimeBusTopicState(user('bob'), 'message');
		expectTypeOf(instance.current!.data).toEqualTypeOf<{ message: string }>();
	});
});

describe('bus state', () => {
	test('select is that of sveltekit-sse', () => {
		expectTypeOf(getRealtimeBusState(demo).select).toExtend<SourceSelect>();
	});
	test('health is never null, handlers are typed', () => {
		const { health, onMessage } = getRealtimeBusState(user, 'alice', { bus: {} as RealtimeBus });
		expectTypeOf(health.current).toEqualTypeOf<HealthPayload>();
		onMessage('message', (message) => {
			expectTypeOf(message.data).toEqualTypeOf<{ message: string }>();
			expectTypeOf(message.topic).toEqualTypeOf<'message'>();
		});
	});
});

describe('runs', () => {
	test('the result is of the type that is named, parameters stay those of the channel', () => {
		const run = getRealtimeBusRun<{ total: number }>(user, { channelParams: 'alice' });
		expectTypeOf(run.current.result).toEqualTypeOf<{ total: number } | undefined>();
		expectTypeOf(run.current.status).toEqualTypeOf<RealtimeRunStatus>();
		const options: RealtimeRunOptions<typeof user> = { channelParams: 'alice' };
		expectTypeOf(getRealtimeBusRun<number>(user, options).current.status).toBeString();
		expectTypeOf(getRealtimeBusRun(user).current.result).toEqualTypeOf<unknown>();
		// @ts-expect-error the builder takes a text
		getRealtimeBusRun(user, { channelParams: 7 });
	});
});

describe('lists, streams and whole channels', () => {
	test('messages are those of the topic, or what map makes of them', () => {
		const all = getRealtimeBusTopicMessages(user, 'message', { channelParams: 'alice' });
		expectTypeOf(all.current[0]!.data).toEqualTypeOf<{ message: string }>();
		const texts = getRealtimeBusTopicMessages(demo, 'message', {
			map: ({ data }) => data.message.length
		});
		expectTypeOf(texts.current).toEqualTypeOf<readonly number[]>();
		// @ts-expect-error the channel has no such topic
		getRealtimeBusTopicMessages(user, 'other');
	});
	test('a stream of a topic has text, and no topic that is not there', () => {
		const stream = getRealtimeBusTopicStream(user, 'message', { channelParams: () => 'alice' });
		expectTypeOf(stream.current!.text).toEqualTypeOf<string>();
		// @ts-expect-error the channel has no such topic
		getRealtimeBusTopicStream(user, 'other');
	});
	test('a channel has its topics', () => {
		const whole = getRealtimeBusChannel(user, { channelParams: 'alice' });
		expectTypeOf(whole.topics.message.current!.data).toEqualTypeOf<{ message: string }>();
		// @ts-expect-error the channel has no such topic
		void whole.topics.other;
	});
});
