import { channel, topic, typeOnlyChannel } from '@inngest/realtime';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { createRealtime, defineEvent, type RealtimePublish } from '../../src/lib/server/index.js';
import { serve } from '../support/server.js';
import { startWorld, type World } from '../support/world.js';
import type { SseReader } from '../support/sse.js';

const message = topic('message').schema(z.object({ text: z.string() }));
const news = channel('news')
	.addTopic(message)
	.addTopic(topic('date').schema(z.object({ at: z.date() })))
	.addTopic(topic('coerced').schema(z.object({ at: z.coerce.date() })))
	.addTopic(topic('count').schema(z.number()))
	.addTopic(topic('any').schema(z.any()))
	.addTopic(topic('map').schema(z.map(z.string(), z.number())))
	.addTopic(topic('optional').schema(z.object({ note: z.string().optional() })))
	.addTopic(topic('length').schema(z.string().transform((text) => text.length)))
	.addTopic(topic('big').schema(z.coerce.bigint()))
	.addTopic(topic('patient').schema(z.string().refine(async (text) => text !== 'wrong')))
	.addTopic(
		topic('broken').schema(
			z.any().refine(() => {
				throw new Error('The database is down.');
			})
		)
	)
	.addTopic(topic('bare'));
const user = channel((id: string) => `user:${id}`).addTopic(
	topic('message').schema(z.object({ from: z.string() }))
);
const job = channel((id: string) => `job:${id}`).addTopic(
	topic('message').schema(z.object({ percent: z.number() }))
);
const open = typeOnlyChannel('open') as unknown as Record<string, unknown>;

let world: World;
let stream: SseReader;
beforeEach(async () => {
	const authorize = (): boolean => true;
	const rest =
		(prefix: string) =>
		(_event: unknown, name: string): string =>
			name.startsWith(prefix) ? name.slice(prefix.length) : '';
	world = await startWorld({
		channels: {
			news: { channel: news, authorize },
			user: { channel: user, channelParams: rest('user:'), authorize },
			job: { channel: job, channelParams: rest('job:'), authorize },
			open: { channel: open as never, authorize }
		}
	});
});
afterEach(() => world.close());

async function listen(...subscriptions: { channel: string; topics?: string[] }[]): Promise<void> {
	stream = await world.open({ subscriptions });
	for (const { channel } of subscriptions) await stream.connected(channel);
}

const publish = (target: unknown, data: unknown): Promise<void> =>
	world.realtime.publish(target as never, data as never);

async function expectRefused(target: unknown, data: unknown, why: RegExp): Promise<void> {
	await expect(publish(target, data)).rejects.toMatchObject({
		name: 'RealtimeError',
		code: 'INVALID_MESSAGE',
		message: expect.stringMatching(why)
	});
}

/** Data of the messages that arrived, once there are `count`. */
async function received(count: number): Promise<unknown[]> {
	await stream.when(() => stream.messages.length >= count, 'the messages');
	return stream.messages.map(({ data }) => data);
}

const circular: Record<string, unknown> = {};
circular.self = circular;

test.each<[what: string, data: unknown, why: RegExp]>([
	['undefined', undefined, /the data is undefined, which JSON cannot express/],
	['a function', () => 1, /the data is a function/],
	['a symbol', Symbol('x'), /the data is a symbol/],
	['a BigInt', { id: 1n }, /cannot be sent as JSON: .*BigInt/],
	['a circle', circular, /cannot be sent as JSON: .*circular/i],
	[
		'toJSON that throws',
		{
			toJSON: () => {
				throw new Error('No.');
			}
		},
		/cannot be sent as JSON: No\./
	],
	['toJSON that gives nothing', { toJSON: () => undefined }, /which JSON cannot express/]
])('%s is refused, whatever the schema says', async (_, data, why) => {
	await expectRefused(news().any, data, why);
	await expectRefused(news().bare, data, why);
	await expectRefused(open.any, data, why);
});

test.each<[what: string, target: unknown, data: unknown]>([
	['a date, which arrives as a text', news().date, { at: new Date() }],
	['a map, which arrives as an empty object', news().map, new Map([['a', 1]])]
])('a schema that accepts a value but not its JSON could never deliver: %s', async (_, ...rest) => {
	await expectRefused(...rest, /what readers receive does not: .*z\.coerce\.date\(\)/);
});

test('NaN, which arrives as null, is refused where a number is expected', async () => {
	await expectRefused(news().count, NaN, /expected number/);
});

test('a schema whose output cannot be sent to browsers is refused', async () => {
	await expectRefused(news().big, '12', /BigInt/);
});

test('a schema that throws refuses, and says why', async () => {
	await expectRefused(news().broken, 1, /The database is down\./);
});

test('an asynchronous schema is waited for', async () => {
	await expectRefused(news().patient, 'wrong', /does not match the topic's schema/);
	await listen({ channel: 'news' });
	await publish(news().patient, 'right');
	expect(await received(1)).toEqual(['right']);
});

test('a schema that answers with a thenable of any make is waited for', async () => {
	const builder = {
		then: (resolve: (result: unknown) => void) => resolve({ issues: [{ message: 'Not this.' }] })
	};
	const schema = { '~standard': { version: 1, vendor: 'test', validate: () => builder } };
	const target = { channel: 'news', topic: 'any', config: { schema } };
	await expectRefused(target, 1, /Not this\./);
});

test('what is published arrives as JSON makes it, and as the schema gives it', async () => {
	await listen({ channel: 'news' });
	const at = new Date('2026-01-02T03:04:05.000Z');
	await publish(news().coerced, { at });
	await publish(news().optional, { note: undefined });
	await publish(news().length, '"12345"');
	await publish(news().any, null);
	await publish(news().any, { toJSON: () => 'own' });
	await publish(news().any, '{"looks":"like JSON"}');
	await publish(news().any, '');
	expect(await received(7)).toEqual([
		{ at: at.toISOString() },
		{},
		7,
		null,
		'own',
		'{"looks":"like JSON"}',
		''
	]);
});

test('a message may have 512 KiB of JSON, and not a byte more', async () => {
	await listen({ channel: 'news' });
	const limit = 512 * 1024;
	// Two quotes, and two bytes for each letter.
	await publish(news().any, 'ü'.repeat(limit / 2 - 1));
	expect((await received(1))[0]).toHaveLength(limit / 2 - 1);
	await expectRefused(
		news().any,
		'ü'.repeat(limit / 2),
		/524290 bytes as JSON, and Inngest takes at most 524288 \(512 KiB\)/
	);
	expect(stream.messages).toHaveLength(1);
});

test('where channels share the name of a topic, each message is validated by its own', async () => {
	await listen({ channel: 'news' }, { channel: 'user:alice' }, { channel: 'job:1' });
	await expectRefused(user('alice').message, { text: 'of the news' }, /channel "user:alice"/);
	await expectRefused(user('alice').message, { percent: 1 }, /channel "user:alice"/);
	await expectRefused(job('1').message, { from: 'a user' }, /channel "job:1"/);
	await expectRefused(news().message, { percent: 1 }, /channel "news"/);
	await publish(user('alice').message, { from: 'Bob' });
	await publish(job('1').message, { percent: 50 });
	await publish(news().message, { text: 'hello' });
	expect(await received(3)).toEqual([{ from: 'Bob' }, { percent: 50 }, { text: 'hello' }]);
});

test('a topic function of any other make is validated by the names that it answers with', async () => {
	const named = async (data: unknown): Promise<unknown> => ({
		channel: 'news',
		topic: 'message',
		data
	});
	await expectRefused(named, { from: 'Bob' }, /channel "news"/);
	await publish(named, { text: 'hello' });
});

test('publishing leaves the definitions of the topics as they were', async () => {
	const before = Object.getOwnPropertyDescriptors(user.topics.message);
	await publish(user('alice').message, { from: 'Bob' });
	expect(Object.getOwnPropertyDescriptors(user.topics.message)).toEqual(before);
	expect(user.topics.message.getSchema()).toBeDefined();
});

test.each([
	['nothing', undefined],
	['null', null],
	['a name', 'message'],
	['a definition', news.topics.message],
	['a channel', news],
	['an instance', news()]
])('%s instead of a topic is refused, and nothing is published', async (_, target) => {
	for (const send of [world.realtime.publish, world.realtime.emit]) {
		await expect(send(target as never, { text: 'x' } as never)).rejects.toMatchObject({
			code: 'INVALID_OPTION',
			message: expect.stringContaining('not a topic of a channel')
		});
	}
});

for (const [sdk, load] of [
	['3', () => import('inngest')],
	['4', () => import('inngest4')]
] as const) {
	test(`what the handler of an event publishes names the event, with inngest ${sdk}`, async () => {
		world = await startWorld({ channels: { news: { channel: news, authorize: () => true } } });
		const { Inngest } = (await load()) as unknown as {
			Inngest: new (options: object) => { id: string };
		};
		const say = defineEvent('news/say', { schema: z.object({ text: z.string() }) });
		const realtime = createRealtime({
			inngest: new Inngest({ id: 'other', baseUrl: world.engine.url, isDev: true }),
			channels: { news: { channel: news, authorize: () => true } },
			events: {
				say: {
					event: say,
					authorize: () => true,
					run: (context, data) =>
						(context as { publish: RealtimePublish }).publish(news().message, data)
				}
			}
		});
		const server = await serve(realtime);
		try {
			const stream = await world.open({ channel: 'news', topics: ['message'] });
			await stream.connected();
			const response = await fetch(server.url, {
				method: 'POST',
				body: JSON.stringify({ event: 'news/say', id: 'e-1', data: { text: 'hello' } })
			});
			expect(response.status).toBe(200);
			await world.realtime.publish(news().message, { text: 'plain' });
			await stream.when(() => stream.messages.length === 2);
			expect(stream.messages[0]).toMatchObject({ data: { text: 'hello' }, clientEventId: 'e-1' });
			expect(stream.messages[1]).not.toHaveProperty('clientEventId');
		} finally {
			realtime.close();
			await server.close();
		}
	});
}
