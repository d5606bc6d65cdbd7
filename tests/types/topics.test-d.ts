import { channel, topic, typeOnlyChannel } from '@inngest/realtime';
import { describe, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import type { ChannelParams } from '../../src/lib/protocol/channel.js';
import type {
	Jsonify,
	RealtimeTopicMessage,
	TopicData,
	TopicKey
} from '../../src/lib/protocol/types.js';

const demo = channel('demo')
	.addTopic(topic('message').schema(z.object({ message: z.string(), at: z.coerce.date() })))
	.addTopic(topic('admin-message').type<{ level: 1 | 2 }>());
const user = channel((userId: string) => `user:${userId}`).addTopic(
	topic('length').schema(z.string().transform((text) => text.length))
);
const room = channel((org: string, id: number) => `room:${org}:${id}`).addTopic(
	topic('any').type<{ a?: string }>()
);

test('a value is read as JSON leaves it', () => {
	expectTypeOf<
		Jsonify<{
			at: Date;
			maybe: string | undefined;
			never: undefined;
			optional?: number;
			run: () => void;
			any: unknown;
			list: (Date | undefined)[];
			pair: [Date, undefined];
			either: { a: 1 } | { b: Date };
		}>
	>().toEqualTypeOf<{
		at: string;
		maybe?: string;
		optional?: number;
		any: unknown;
		list: (string | null)[];
		pair: [string, null];
		either: { a: 1 } | { b: string };
	}>();
});

describe('channels of @inngest/realtime 0.4', () => {
	test('topic names come from the definition', () => {
		expectTypeOf<TopicKey<typeof demo>>().toEqualTypeOf<'message' | 'admin-message'>();
		expectTypeOf<TopicKey<ReturnType<typeof demo>>>().toEqualTypeOf<'message' | 'admin-message'>();
	});
	test('payloads are the output of the schema after JSON', () => {
		expectTypeOf<TopicData<typeof demo, 'message'>>().toEqualTypeOf<{
			message: string;
			at: string;
		}>();
		expectTypeOf<TopicData<typeof demo, 'admin-message'>>().toEqualTypeOf<{ level: 1 | 2 }>();
		expectTypeOf<TopicData<typeof user, 'length'>>().toEqualTypeOf<number>();
		expectTypeOf<TopicData<typeof room, 'any'>>().toEqualTypeOf<{ a?: string }>();
		expectTypeOf<RealtimeTopicMessage<typeof user>['topic']>().toEqualTypeOf<'length'>();
	});
	test('parameters come from the builder', () => {
		expectTypeOf<ChannelParams<typeof demo>>().toEqualTypeOf<undefined>();
		expectTypeOf<ChannelParams<typeof user>>().toEqualTypeOf<string | readonly [string]>();
		expectTypeOf<ChannelParams<typeof room>>().toEqualTypeOf<readonly [string, number]>();
	});
	test('typeOnlyChannel keeps the topics of its definition', () => {
		const typed = typeOnlyChannel<typeof demo>('demo');
		expectTypeOf<TopicKey<typeof typed>>().toEqualTypeOf<'message' | 'admin-message'>();
	});
});
