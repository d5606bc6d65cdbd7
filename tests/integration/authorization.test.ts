import { typeOnlyChannel } from '@inngest/realtime';
import { error, redirect } from '@sveltejs/kit';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type {
	RealtimeAuthorizeContext,
	RealtimeServerFailureContext
} from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

/** An endpoint whose only channel is authorized by `authorize`, whatever that returns. */
async function startWith(
	authorize: (context: RealtimeAuthorizeContext) => unknown,
	locals?: (request: Request) => unknown
): Promise<void> {
	const channels = { demo: { channel: demoChannel, authorize: authorize as () => boolean } };
	world = await startWorld({ channels, onFailure }, { ...(locals && { locals }) });
}

test('allowedTopics are all that is read of the topics asked for', async () => {
	await startWith(() => ({ allowedTopics: ['message', 'never-asked-for', '$run'] }));
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	await world.publish('demo', 'admin-message', { message: 'secret' });
	await world.publish('demo', 'message', { message: 'public' });
	await stream.when(() => stream.messages.length === 1);
	expect(stream.texts).toEqual(['public']);
});

test('a topic that is allowed but was not asked for is not sent', async () => {
	await startWith(() => ({ allowedTopics: ['message', 'admin-message'] }));
	const stream = await world.open({ channel: 'demo', topics: ['message'] });
	await stream.connected();
	await world.publish('demo', 'admin-message', { message: 'not asked for' });
	await world.publish('demo', 'message', { message: 'asked for' });
	await stream.when(() => stream.messages.length === 1);
	expect(stream.texts).toEqual(['asked for']);
});

test.each([
	['no topic at all', { allowedTopics: [] }],
	['no topic asked for', { allowedTopics: ['other'] }]
])('403 when allowedTopics names %s', async (_, result) => {
	await startWith(() => result);
	expect(await world.post({ channel: 'demo' })).toMatchObject({
		status: 403,
		body: { error: 'Not allowed to read this realtime channel.' }
	});
	expect(failures).toMatchObject([{ stage: 'authorization', status: 403 }]);
	expect(failures[0]!.error).toBeUndefined();
});

test.each([
	['undefined', undefined],
	['null', null],
	['a truthy number', 1],
	['a text', 'true'],
	['a list', ['message']],
	['an empty object', {}],
	['allowedTopics that are no list', { allowedTopics: 'message' }],
	['allowedTopics as a set', { allowedTopics: new Set(['message']) }],
	['a response', new Response('ok')]
])('403 when authorize returns %s, and onFailure is told what is wrong', async (_, result) => {
	await startWith(async () => result);
	expect(await world.post({ channel: 'demo' })).toMatchObject({
		status: 403,
		body: { error: 'Not allowed to read this realtime channel.' }
	});
	expect(failures[0]!.error).toMatchObject({
		message: expect.stringContaining('must return true, false or { allowedTopics }') as string
	});
});

test.each([
	['an Error', () => new Error('No such room'), 403, 'No such room'],
	['a text', () => 'No such room', 403, 'No such room'],
	['an Error without a message', () => new Error(''), 403, 'Not allowed to'],
	['nothing to speak of', () => undefined, 403, 'Not allowed to'],
	['an error with a status', () => Object.assign(new Error('Gone'), { status: 410 }), 410, 'Gone'],
	['an error with an odd status', () => Object.assign(new Error('Hm'), { status: 200 }), 403, 'Hm']
])('what authorize throws is what the browser is told: %s', async (_, thrown, status, text) => {
	await startWith(() => {
		throw thrown();
	});
	const answer = await world.post({ channel: 'demo' });
	expect(answer.status).toBe(status);
	expect(answer.body.error).toContain(text);
	expect(failures).toMatchObject([{ stage: 'authorization', status }]);
});

test('SvelteKit’s error() with a body of its own tells its message; redirect() denies', async () => {
	await startWith(({ params }) =>
		params.away ? redirect(303, '/login') : error(402, { message: 'Pay first' })
	);
	expect(await world.post({ channel: 'demo' })).toMatchObject({
		status: 402,
		body: { error: 'Pay first' }
	});
	expect(await world.post({ channel: 'demo', params: { away: true } })).toMatchObject({
		status: 403,
		body: { error: 'Not allowed to read this realtime channel.' }
	});
});

test('authorize is asked once, with the event, its locals and its request', async () => {
	const authorize = vi.fn(({ event, locals, request }: RealtimeAuthorizeContext) => {
		expect(event.locals).toBe(locals);
		expect(event.request).toBe(request);
		return (locals as unknown as { user: string }).user === 'alice';
	});
	await startWith(authorize, (request) => ({ user: request.headers.get('x-user') }));
	const stream = await world.open({ channel: 'demo' }, { 'x-user': 'alice' });
	await stream.connected();
	await world.publish('demo', 'message', { message: 'hello' });
	await stream.when(() => stream.messages.length === 1);
	expect(authorize).toHaveBeenCalledTimes(1);
	expect(await world.post({ channel: 'demo' }, { 'x-user': 'bob' })).toMatchObject({ status: 403 });
});

test('a reader of a type-only channel gets the topics it named, however those are spelled', async () => {
	const open = typeOnlyChannel('open');
	world = await startWorld({ channels: { open: { channel: open, authorize: () => true } } });
	const two = await world.open({ channel: 'open', topics: ['a', 'b'] });
	const odd = await world.open({ channel: 'open', topics: ['a\nb'] });
	await two.connected();
	await odd.connected();
	for (const topic of ['a', 'a\nb', 'b']) await world.publish('open', topic, { message: topic });
	await two.when(() => two.texts.length === 2);
	await odd.when(() => odd.texts.length === 1);
	expect(two.texts).toEqual(['a', 'b']);
	expect(odd.texts).toEqual(['a\nb']);
});

test('nothing is asked of Inngest before a reader is authorized', async () => {
	await startWith(() => false);
	await world.post({ channel: 'demo' });
	expect(world.engine.sockets).toBe(0);
	expect(world.realtime.stats()).toMatchObject({
		hub: { feeds: 0, sources: { inngest: { state: 'idle' } } }
	});
});
