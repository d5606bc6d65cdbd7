import type { RequestHandler } from '@sveltejs/kit';
import { Inngest } from 'inngest4';
import { channel, realtime, staticSchema } from 'inngest4/realtime';
import { describe, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
	getRealtimeBusChannel,
	getRealtimeBusState,
	getRealtimeBusTopicJson,
	getRealtimeBusTopicMessages,
	getRealtimeBusTopicState,
	type ChannelParams,
	type RealtimeManagerProps,
	type RealtimeSubscription,
	type RealtimeTopicMessage,
	type TopicData,
	type TopicKey
} from '../../src/lib/client/index.js';
import {
	createRealtime,
	createRealtimeEndpoint,
	type RealtimeChannelConfig
} from '../../src/lib/server/index.js';

const news = realtime.channel({
	name: 'news',
	topics: {
		story: { schema: z.object({ title: z.string(), at: z.date() }) },
		length: { schema: z.string().transform((text) => text.length) },
		plain: { schema: staticSchema<{ level: 1 | 2; until?: Date }>() }
	}
});
const chat = realtime.channel({
	name: (room: string) => `chat:${room}`,
	topics: { message: { schema: z.object({ text: z.string() }) } }
});
const pipeline = realtime.channel({
	name: ({ runId, step = 0 }: { runId: string; step?: number }) => `pipeline:${runId}:${step}`,
	topics: { status: { schema: z.object({ done: z.boolean() }) } }
});
const seat = channel({
	name: (hall: string, row: number) => `seat:${hall}:${row}`,
	topics: { taken: { schema: z.boolean() } }
});
const inngest = new Inngest({ id: 'types' });

describe('channels of inngest 4', () => {
	test('topic names come from the definition', () => {
		expectTypeOf<TopicKey<typeof news>>().toEqualTypeOf<'story' | 'length' | 'plain'>();
		expectTypeOf<TopicKey<typeof chat>>().toEqualTypeOf<'message'>();
		expectTypeOf<TopicKey<ReturnType<typeof chat>>>().toEqualTypeOf<'message'>();
	});
	test('payloads are the output of the schema after JSON', () => {
		expectTypeOf<TopicData<typeof news, 'story'>>().toEqualTypeOf<{ title: string; at: string }>();
		expectTypeOf<TopicData<typeof news, 'length'>>().toEqualTypeOf<number>();
		expectTypeOf<TopicData<typeof news, 'plain'>>().toEqualTypeOf<{
			level: 1 | 2;
			until?: string;
		}>();
		expectTypeOf<TopicData<typeof chat, 'message'>>().toEqualTypeOf<{ text: string }>();
	});
	test('a message is told apart by its topic', () => {
		const read = (message: RealtimeTopicMessage<typeof news>): unknown => {
			if (message.topic === 'length') expectTypeOf(message.data).toEqualTypeOf<number>();
			else expectTypeOf(message.data).toBeObject();
			return message;
		};
		expectTypeOf(read).toBeFunction();
	});
	test('parameters come from the function that makes the name', () => {
		expectTypeOf<ChannelParams<typeof news>>().toEqualTypeOf<undefined>();
		expectTypeOf<ChannelParams<typeof chat>>().toEqualTypeOf<string | readonly [string]>();
		type Pipeline = { runId: string; step?: number };
		expectTypeOf<ChannelParams<typeof pipeline>>().toEqualTypeOf<Pipeline | readonly [Pipeline]>();
		expectTypeOf<ChannelParams<typeof seat>>().toEqualTypeOf<readonly [string, number]>();
	});
});

describe('the client takes channels of inngest 4', () => {
	test('as subscriptions', () => {
		const subscriptions = [
			{ channel: news, topics: ['story'] },
			{ channel: chat, channelParams: 'lobby' },
			{ channel: chat('kitchen') },
			{ channel: pipeline, channelParams: { runId: 'a' } },
			{ channel: seat, channelParams: ['main', 1] }
		];
		expectTypeOf(subscriptions).toExtend<RealtimeManagerProps['subscriptions']>();
		expectTypeOf<{ channel: typeof chat; channelParams: string }>().toExtend<
			RealtimeSubscription<typeof chat>
		>();
		expectTypeOf<{ channel: typeof chat; channelParams: number }>().not.toExtend<
			RealtimeSubscription<typeof chat>
		>();
	});
	test('in every hook', () => {
		const story = getRealtimeBusTopicState(news, 'story');
		expectTypeOf(story.current!.data).toEqualTypeOf<{ title: string; at: string }>();
		const explicit = getRealtimeBusTopicState<typeof news, 'length'>(news, 'length');
		expectTypeOf(explicit.current!.data).toEqualTypeOf<number>();
		const done = getRealtimeBusTopicJson(pipeline, 'status', {
			channelParams: { runId: 'a' },
			map: ({ data }) => data.done,
			initial: false
		});
		done.subscribe((value) => expectTypeOf(value).toEqualTypeOf<boolean>());
		const list = getRealtimeBusTopicMessages(seat, 'taken', { channelParams: ['main', 1] });
		expectTypeOf(list.current[0]!.data).toEqualTypeOf<boolean>();
		const whole = getRealtimeBusChannel(chat('lobby'));
		expectTypeOf(whole.topics.message.current!.data).toEqualTypeOf<{ text: string }>();
		getRealtimeBusState(chat, 'lobby').onMessage('message', ({ data }) =>
			expectTypeOf(data).toEqualTypeOf<{ text: string }>()
		);
		// @ts-expect-error no such topic
		getRealtimeBusTopicState(news, 'other');
		// @ts-expect-error the name is made of a string
		getRealtimeBusTopicState(chat, 'message', { channelParams: 1 });
		// @ts-expect-error `runId` is missing
		getRealtimeBusTopicState(pipeline, 'status', { channelParams: { step: 1 } });
		// @ts-expect-error a channel without parameters takes none
		getRealtimeBusTopicState(news, 'story', { channelParams: 'any' });
	});
});

describe('the server takes channels and clients of inngest 4', () => {
	test('in the registry, where callbacks know the topics', () => {
		const POST = createRealtimeEndpoint({
			inngest,
			channels: {
				news: {
					channel: news,
					authorize: ({ topics }) => {
						expectTypeOf(topics).toEqualTypeOf<('story' | 'length' | 'plain')[]>();
						return { allowedTopics: topics };
					},
					reauthorize: ({ message }) => message.topic === 'story' && message.data.at !== ''
				},
				chat: {
					channel: chat,
					channelParams: (_event, id) => id.slice('chat:'.length),
					authorize: () => true
				},
				pipeline: {
					channel: pipeline,
					channelParams: (_event, id) => ({ runId: id.slice('pipeline:'.length) }),
					authorize: () => true
				},
				seat: { channel: seat, channelParams: ['main', 1], authorize: () => true }
			}
		});
		expectTypeOf(POST).toEqualTypeOf<RequestHandler>();
		expectTypeOf<{
			channel: typeof chat;
			channelParams: number;
			authorize: () => true;
		}>().not.toExtend<RealtimeChannelConfig<typeof chat>>();
	});
	test('what is published is the input of the schema', () => {
		const bus = createRealtime({ inngest, channels: { news: { channel: news, authorize: ok } } });
		void bus.publish(news.story, { title: 'Rain', at: new Date() });
		void bus.publish(news.length, 'counted by its readers');
		void bus.publish(chat('lobby').message, { text: 'hello' });
		// @ts-expect-error a number is what readers get
		void bus.publish(news.length, 6);
		// @ts-expect-error `text` is missing
		void bus.publish(chat('lobby').message, {});
		const items = bus.subscribe(pipeline, { channelParams: { runId: 'a' }, topics: ['status'] });
		void items.next().then(({ value }) => {
			if (value?.kind === 'data') expectTypeOf(value.data).toEqualTypeOf<{ done: boolean }>();
		});
		// @ts-expect-error no such topic
		bus.subscribe(chat, { topics: ['other'] });
	});
});

const ok = (): boolean => true;
