import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RealtimeServerFailureContext } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

const contexts: unknown[] = [];
beforeEach(() => void (contexts.length = 0));

const channels = {
	demo: {
		channel: demoChannel,
		authorize: ({ topics, params }: { topics: string[]; params: Record<string, unknown> }) => {
			contexts.push({ topics, params });
			return params.deny !== 'yes';
		}
	}
};

test('a GET names its channel, topics and params in the query', async () => {
	world = await startWorld({ channels });
	const stream = await world.openGet(
		'channel=demo&topic=message&topic=message&param.room=7&param.__proto__=dropped&other=1'
	);
	await stream.connected();
	expect(contexts).toEqual([{ topics: ['message'], params: { room: '7' } }]);
	await world.publish('demo', 'admin-message', { message: 'not asked for' });
	await world.publish('demo', 'message', { message: 'hello' });
	await stream.when(() => stream.messages.length === 1);
	expect(stream.texts).toEqual(['hello']);
});

test('a GET tells an EventSource when to come back; a POST does not', async () => {
	world = await startWorld({ channels });
	const stream = await world.openGet('channel=demo');
	await stream.connected();
	expect(stream.retryMs).toBe(2_000);
	const posted = await world.open({ channel: 'demo' });
	await posted.connected();
	expect(posted.retryMs).toBeUndefined();
});

test('an EventSource that comes back with Last-Event-ID gets what it missed', async () => {
	world = await startWorld({ channels });
	const first = await world.openGet('channel=demo');
	await first.connected();
	await world.publish('demo', 'message', { message: '1' });
	await first.when(() => first.messages.length === 1);
	first.close();
	await world.publish('demo', 'message', { message: '2' });
	const again = await world.openGet('channel=demo', { 'last-event-id': first.lastId! });
	await again.connected();
	expect(again.texts).toEqual(['2']);
});

test('Last-Event-ID is newer than the cursor that the page began with', async () => {
	world = await startWorld({ channels });
	const first = await world.openGet('channel=demo');
	await first.connected();
	const began = first.lastId!;
	for (const message of ['1', '2']) await world.publish('demo', 'message', { message });
	await first.when(() => first.messages.length === 2);
	const ids = first.frames.filter(({ event }) => event === 'message').map(({ id }) => id!);
	const fromQuery = await world.openGet(`channel=demo&lastEventId=${began}`);
	await fromQuery.connected();
	expect(fromQuery.texts).toEqual(['1', '2']);
	const fromHeader = await world.openGet(`channel=demo&lastEventId=${began}`, {
		'last-event-id': ids[0]!
	});
	await fromHeader.connected();
	expect(fromHeader.texts).toEqual(['2']);
	const posted = await world.open(
		{ channel: 'demo', lastEventId: began },
		{ 'last-event-id': ids[0]! }
	);
	await posted.connected();
	expect(posted.texts).toEqual(['2']);
});

test('the id of `connected` lets an EventSource resume that has received nothing yet', async () => {
	world = await startWorld({ channels });
	const first = await world.openGet('channel=demo&topic=message');
	const { id } = await first.connected();
	first.close();
	await world.publish('demo', 'message', { message: '1' });
	const again = await world.openGet('channel=demo', { 'last-event-id': id! });
	await again.connected();
	expect(again.texts).toEqual(['1']);
	expect(again.frames.some(({ event }) => event === 'resync')).toBe(false);
});

test.each([
	['channel=', 400, 'request-validation', 'Missing channel'],
	['', 400, 'request-validation', 'Missing channel'],
	['channel=other', 400, 'channel-resolution', 'Requested channel is not available'],
	['channel=demo&topic=nope', 400, 'topic-validation', 'Unknown topics: nope'],
	['channel=demo&param.deny=yes', 403, 'authorization', 'Not allowed']
])('GET ?%s is refused with %i %s', async (query, status, stage, text) => {
	world = await startWorld({ channels, onFailure });
	const response = await fetch(`${world.server.url}?${query}`);
	expect(response.status).toBe(status);
	expect(((await response.json()) as { error: string }).error).toContain(text);
	expect(failures).toMatchObject([{ stage, status }]);
});

const fromSite = (site: string): Record<string, string> => ({ 'sec-fetch-site': site });

test('a request from a page of another site is refused before anybody is asked', async () => {
	world = await startWorld({ channels, onFailure });
	const got = await fetch(`${world.server.url}?channel=demo`, { headers: fromSite('cross-site') });
	expect(got.status).toBe(403);
	expect(await got.json()).toEqual({ error: 'Cross-site streams are not allowed' });
	for (const body of [{ channel: 'demo' }, { subscriptions: [{ channel: 'demo' }] }, 'no JSON']) {
		expect(await world.post(body, fromSite('cross-site'))).toMatchObject({
			status: 403,
			body: { error: 'Cross-site streams are not allowed' }
		});
	}
	expect(contexts).toEqual([]);
	expect(failures).toMatchObject(
		[1, 2, 3, 4].map(() => ({ stage: 'request-validation', status: 403 }))
	);
	for (const site of ['same-origin', 'same-site', 'none']) {
		await (await world.openGet('channel=demo', fromSite(site))).connected();
		await (await world.open({ channel: 'demo' }, fromSite(site))).connected();
	}
});

test('with `allowCrossSite` pages of other sites may open streams', async () => {
	world = await startWorld({ channels, allowCrossSite: true });
	await (await world.openGet('channel=demo', fromSite('cross-site'))).connected();
	await (await world.open({ channel: 'demo' }, fromSite('cross-site'))).connected();
});

test('HEAD is authorized like GET and answers headers only, without a stream', async () => {
	world = await startWorld({ channels, onFailure });
	const response = await fetch(`${world.server.url}?channel=demo`, { method: 'HEAD' });
	expect(response.status).toBe(200);
	expect(response.headers.get('content-type')).toBe('text/event-stream');
	expect(response.body).toBeNull();
	expect(contexts).toHaveLength(1);
	expect(world.realtime.stats()).toMatchObject({ streams: 0, hub: { feeds: 0 } });
	const denied = await fetch(`${world.server.url}?channel=demo&param.deny=yes`, {
		method: 'HEAD'
	});
	expect(denied.status).toBe(403);
});
