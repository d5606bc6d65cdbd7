import { channel, topic } from '@inngest/realtime';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { createRealtime, type RealtimeServerFailureContext } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { serve } from '../support/server.js';
import { openStream, type SseReader } from '../support/sse.js';
import { deferred, eventually, type Deferred } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

const allow = { authorize: () => true };

/** A schema that is nobody's but this test's. */
function schemaOf(
	validate: (value: unknown) => ReturnType<StandardSchemaV1['~standard']['validate']>
): StandardSchemaV1 {
	return { '~standard': { version: 1, vendor: 'test', validate } };
}

/** The channel `checked`, whose topic `message` has a schema. */
const checkedBy = (schema: StandardSchemaV1) =>
	channel('checked').addTopic(topic('message').schema(schema as never));

async function connect(name: string): Promise<SseReader> {
	const stream = await world.open({ channel: name });
	await stream.connected();
	return stream;
}

test('an invalid message is dropped and reported once, and streams go on', async () => {
	world = await startWorld({ channels: { demo: { channel: demoChannel, ...allow } }, onFailure });
	const streams = [await connect('demo'), await connect('demo')];
	await world.publish('demo', 'message', { message: 1 });
	await world.publish('demo', 'message', 'no object');
	await world.publish('demo', 'message', { message: 'fine' });
	for (const stream of streams) {
		await stream.when(() => stream.messages.length === 1);
		expect(stream.texts).toEqual(['fine']);
		expect(stream.statuses).toEqual(['connecting', 'connected']);
	}
	expect(failures).toHaveLength(2);
	expect(failures[0]).toMatchObject({
		stage: 'stream',
		channelId: 'demo',
		message:
			'A message of "demo" on topic "message" does not match the topic\'s schema and was dropped.',
		error: [{ path: ['message'] }]
	});
	expect(world.realtime.stats()).toMatchObject({ hub: { messages: 3, drops: 2 } });
});

test('a message is validated once, however many streams it goes to', async () => {
	let calls = 0;
	const counted = checkedBy(
		schemaOf((value) => {
			calls++;
			return { value };
		})
	);
	world = await startWorld({ channels: { counted: { channel: counted, ...allow } } });
	const streams = await Promise.all(Array.from({ length: 5 }, () => connect('checked')));
	for (const message of ['1', '2', '3']) await world.publish('checked', 'message', { message });
	for (const stream of streams) await stream.when(() => stream.texts.length === 3);
	expect(calls).toBe(3);
	const again = await world.open({
		channel: 'checked',
		lastEventId: streams[0]!.lastId!.replace(/\d+$/, '0')
	});
	await again.when(() => again.texts.length === 3);
	expect(calls).toBe(3);
});

test('readers get the output of the schema: transforms, defaults, and no unknown fields', async () => {
	const shaped = channel('shaped').addTopic(
		topic('message').schema(
			z.object({
				at: z.iso.datetime().transform((text) => new Date(text)),
				name: z.string().trim().default('nobody'),
				count: z.coerce.number()
			})
		)
	);
	world = await startWorld({ channels: { shaped: { channel: shaped, ...allow } } });
	const stream = await connect('shaped');
	await world.publish('shaped', 'message', {
		at: '2026-01-02T03:04:05Z',
		count: '7',
		password: 'hunter2'
	});
	await stream.when(() => stream.messages.length === 1);
	expect(stream.messages[0]!.data).toEqual({
		at: '2026-01-02T03:04:05.000Z',
		name: 'nobody',
		count: 7
	});
});

test('asynchronous validators keep the order, whichever answers first', async () => {
	const answers: { value: unknown; answer: Deferred<StandardSchemaV1.Result<unknown>> }[] = [];
	const slow = checkedBy(
		schemaOf((value) => {
			const answer = deferred<StandardSchemaV1.Result<unknown>>();
			answers.push({ value, answer });
			return answer.promise;
		})
	);
	world = await startWorld({ channels: { slow: { channel: slow, ...allow } }, onFailure });
	const stream = await connect('checked');
	for (const message of ['1', '2', '3', '4'])
		await world.publish('checked', 'message', { message });
	await eventually(() => answers.length === 1);
	expect(world.realtime.stats().hub.messages).toBe(4);
	answers[0]!.answer.resolve({ value: answers[0]!.value });
	await eventually(() => answers.length === 2);
	answers[1]!.answer.resolve({ issues: [{ message: 'no' }] });
	await eventually(() => answers.length === 3);
	answers[2]!.answer.reject(new Error('the lookup failed'));
	await eventually(() => answers.length === 4);
	answers[3]!.answer.resolve({ value: answers[3]!.value });
	await stream.when(() => stream.texts.length === 2);
	expect(stream.texts).toEqual(['1', '4']);
	expect(failures).toMatchObject([
		{ error: [{ message: 'no' }] },
		{ error: { message: 'the lookup failed' } }
	]);
});

test('a validator that throws drops the message and harms nothing', async () => {
	const broken = checkedBy(
		schemaOf((value) => {
			if ((value as { message: string }).message === 'bad') throw new Error('a bug');
			return { value };
		})
	);
	world = await startWorld({ channels: { broken: { channel: broken, ...allow } }, onFailure });
	const stream = await connect('checked');
	await world.publish('checked', 'message', { message: 'bad' });
	await world.publish('checked', 'message', { message: 'good' });
	await stream.when(() => stream.texts.length === 1);
	expect(failures).toMatchObject([{ error: { message: 'a bug' } }]);
});

test('a schema whose output JSON cannot hold drops the message and harms nothing', async () => {
	const big = checkedBy(
		schemaOf((value) =>
			(value as { message: string }).message === 'big' ? { value: 10n } : { value }
		)
	);
	world = await startWorld({ channels: { big: { channel: big, ...allow } }, onFailure });
	const stream = await connect('checked');
	await world.publish('checked', 'message', { message: 'big' });
	await world.publish('checked', 'message', { message: 'small' });
	await stream.when(() => stream.texts.length === 1);
	expect(failures).toHaveLength(1);
});

test('a topic without a schema takes anything', async () => {
	const bare = channel('bare').addTopic(topic('message').type<unknown>());
	world = await startWorld({ channels: { bare: { channel: bare, ...allow } } });
	const stream = await connect('bare');
	for (const data of [1, 'two', null, [3], { four: 4 }]) {
		await world.publish('bare', 'message', data);
	}
	await stream.when(() => stream.messages.length === 5);
	expect(stream.messages.map(({ data }) => data)).toEqual([1, 'two', null, [3], { four: 4 }]);
});

test('pieces of a data stream are not measured by the topic’s schema', async () => {
	world = await startWorld({ channels: { demo: { channel: demoChannel, ...allow } }, onFailure });
	const stream = await connect('demo');
	await world.engine.publishStream({ channel: 'demo', topic: 'message' }, ['one ', 'two']);
	await stream.when(() => stream.messages.length === 4);
	const kinds = ['datastream-start', 'chunk', 'chunk', 'datastream-end'];
	expect(stream.messages.map(({ kind }) => kind)).toEqual(kinds);
	expect(stream.messages.slice(1, 3).map(({ data }) => data)).toEqual(['one ', 'two']);
	expect(new Set(stream.messages.map(({ streamId }) => streamId)).size).toBe(1);
	expect(failures).toEqual([]);
});

test('two endpoints with definitions of their own validate one channel each by its own', async () => {
	world = await startWorld({ channels: { demo: { channel: demoChannel, ...allow } }, onFailure });
	const loose = channel('demo').addTopic(topic('message').type<unknown>());
	const other = createRealtime({
		inngest: world.inngest,
		channels: { loose: { channel: loose, ...allow } }
	});
	const server = await serve(other);
	try {
		const strict = await connect('demo');
		const lenient = await openStream(server.url, { channel: 'demo' });
		await lenient.connected();
		await world.publish('demo', 'message', 'no object');
		await world.publish('demo', 'message', { message: 'fine' });
		await strict.when(() => strict.messages.length === 1);
		await lenient.when(() => lenient.messages.length === 2);
		expect(failures).toHaveLength(1);
		expect(world.realtime.stats().hub.sources.inngest!.sockets).toBe(1);
		lenient.close();
	} finally {
		other.close();
		await server.close();
	}
});
