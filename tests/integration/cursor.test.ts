import { afterEach, expect, test, vi } from 'vitest';
import { demoChannel, userChannel } from '../support/channels.js';
import {
	clientAt,
	Endpoint,
	OwnTimers,
	ScriptedServer,
	story,
	until
} from '../support/upstream.js';
import { SharedLog } from '../support/store.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World | undefined;
let inngest: ScriptedServer | undefined;
let endpoint: Endpoint | undefined;
afterEach(async () => {
	vi.useRealTimers();
	await endpoint?.close();
	await inngest?.close();
	await world?.close();
	world = inngest = endpoint = undefined;
});

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
		authorize: () => true
	}
};

/** Publishes messages at once, before anything else can happen. */
function publish(channel: string, ...messages: string[]): void {
	for (const message of messages) {
		world!.engine.publish({ channel, topic: 'message', data: { message } });
	}
}

/** An endpoint whose Inngest does as the test says. */
async function startScripted(): Promise<void> {
	inngest = await ScriptedServer.start();
	endpoint = await Endpoint.start(clientAt(inngest.url));
}

test('a page that starts from a cursor misses nothing of what is published at once after it', async () => {
	world = await startWorld({ channels });
	for (let turn = 0; turn < 50; turn++) {
		const channel = `user:${turn}`;
		const since = await world.realtime.cursor(userChannel, { channelParams: String(turn) });
		publish(channel, '1', '2');
		const opening = world.open({ channel, since });
		publish(channel, '3');
		const page = await opening;
		publish(channel, '4');
		await page.when(() => page.texts.length === 4);
		expect(page.texts).toEqual(['1', '2', '3', '4']);
		expect(page.frames.some(({ event }) => event === 'resync')).toBe(false);
		page.close();
	}
});

test('what was published before the cursor is not sent', async () => {
	world = await startWorld({ channels });
	const witness = await world.open({ channel: 'demo' });
	await witness.connected();
	publish('demo', 'before');
	await witness.when(() => witness.texts.length === 1);
	const since = await world.realtime.cursor(demoChannel);
	publish('demo', 'after');
	const page = await world.open({ channel: 'demo', since });
	await page.when(() => page.texts.length === 1);
	expect(story(page)).toEqual(['connecting', 'after', 'connected']);
});

test('a cursor keeps the channel warm for as long as a reader does', async () => {
	world = await startWorld({ channels, lingerMs: 150 });
	const began = performance.now();
	await world.realtime.cursor(demoChannel);
	expect(world.realtime.stats()).toMatchObject({
		streams: 0,
		hub: { feeds: 1, sources: { inngest: { sockets: 1 } } }
	});
	await eventually(() => world!.realtime.stats().hub.feeds === 0);
	expect(performance.now() - began).toBeGreaterThan(150);
	await eventually(() => world!.engine.sockets === 0);
});

test('one that is no longer warm is answered with `resync`', async () => {
	world = await startWorld({ channels, lingerMs: 0 });
	const since = await world.realtime.cursor(demoChannel);
	expect(world.realtime.stats().hub.feeds).toBe(0);
	const page = await world.open({ channel: 'demo', since });
	await page.connected();
	expect(story(page)).toEqual(['connecting', 'resync idle', 'connected']);
});

test('where Inngest cannot be reached it resolves all the same, and the page is told `resync`', async () => {
	await startScripted();
	inngest!.onToken = () => 500;
	const since = await endpoint!.realtime.cursor(demoChannel);
	expect(endpoint!.realtime.stats().hub.feeds).toBe(0);
	inngest!.onToken = () => 201;
	const page = await endpoint!.open({ channel: 'demo', since });
	await page.connected();
	expect(story(page)).toEqual(['connecting', 'resync restart', 'connected']);
});

test('where Inngest is silent it resolves after 3 seconds, and leaves no timer and no socket', async () => {
	await startScripted();
	inngest!.onUpgrade = () => false;
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
	let since: string | undefined;
	void endpoint!.realtime.cursor(demoChannel).then((cursor) => (since = cursor));
	await until(() => inngest!.connections === 1, 'a socket to be asked for');
	vi.advanceTimersByTime(2_900);
	await new Promise(setImmediate);
	expect(since).toBeUndefined();
	vi.advanceTimersByTime(100);
	await until(() => since !== undefined, 'a cursor');
	await until(() => inngest!.connections === 0, 'the socket to be closed');
	expect(endpoint!.realtime.stats().hub.feeds).toBe(0);
	vi.useRealTimers();
	inngest!.onUpgrade = () => true;
	const page = await endpoint!.open({ channel: 'demo', since: since! });
	await page.connected();
	expect(story(page)).toEqual(['connecting', 'resync restart', 'connected']);
});

test('while Inngest is lost a cursor is there at once, and the loss is announced after it', async () => {
	await startScripted();
	const witness = await endpoint!.open({ channel: 'demo' });
	await witness.connected();
	inngest!.onToken = () => 500;
	inngest!.last.drop();
	await witness.when(() => witness.statuses.length === 3);
	const since = await endpoint!.realtime.cursor(demoChannel);
	inngest!.onToken = () => 201;
	const page = await endpoint!.open({ channel: 'demo', since });
	await page.connected();
	inngest!.publish('demo', 'message', { message: 'after' });
	await page.when(() => page.texts.length === 1);
	expect(story(page).filter((word) => word !== 'connecting')).toEqual([
		'resync upstream-gap',
		'connected',
		'after'
	]);
});

test('after the first event, the page resumes from the last one it received and ignores `since`', async () => {
	world = await startWorld({ channels });
	const since = await world.realtime.cursor(demoChannel);
	publish('demo', '1', '2');
	const page = await world.open({ subscriptions: [{ channel: 'demo', since }] });
	await page.when(() => page.texts.length === 2);
	page.close();
	publish('demo', '3');
	const lastEventId = page.frames.findLast(({ event }) => event === 'message')!.id!;
	const again = await world.open({ subscriptions: [{ channel: 'demo', since, lastEventId }] });
	await again.when(() => again.texts.length === 1);
	expect(story(again)).toEqual(['connecting', '3', 'connected']);
	const header = await world.open({ channel: 'demo', since }, { 'last-event-id': lastEventId });
	await header.when(() => header.texts.length === 1);
	expect(header.texts).toEqual(['3']);
});

test('an iteration starts from a cursor too', async () => {
	world = await startWorld({ channels });
	const since = await world.realtime.cursor(demoChannel);
	publish('demo', '1', '2');
	const items = world.realtime.subscribe(demoChannel, { since });
	const first = await items.next();
	const second = await items.next();
	expect([first.value, second.value]).toMatchObject([
		{ data: { message: '1' } },
		{ data: { message: '2' } }
	]);
	const lastEventId = first.value?.kind === 'data' ? first.value.cursor : '';
	const again = world.realtime.subscribe(demoChannel, { since, lastEventId });
	expect((await again.next()).value).toMatchObject({ data: { message: '2' } });
	await items.return();
	await again.return();
});

test('with a shared store a page that comes after the channel was let go is told so', async () => {
	const log = new SharedLog();
	world = await startWorld({ channels, replay: log.connect(), lingerMs: 0 });
	const writer = await world.open({ channel: 'demo' });
	await writer.connected();
	publish('demo', 'before');
	await writer.when(() => writer.texts.length === 1);
	writer.close();
	await eventually(() => world!.realtime.stats().hub.feeds === 0);
	const since = await world.realtime.cursor(demoChannel);
	await eventually(() => world!.engine.subscriptions === 0);
	publish('demo', 'to nobody');
	const page = await world.open({ channel: 'demo', since });
	await page.connected();
	publish('demo', 'after');
	await page.when(() => page.texts.length === 1);
	expect(story(page)).toEqual(['connecting', 'resync upstream-gap', 'connected', 'after']);
});

test('a page that starts from a cursor of a shared store misses nothing', async () => {
	const log = new SharedLog();
	world = await startWorld({ channels, replay: log.connect() });
	for (let turn = 0; turn < 20; turn++) {
		const channel = `user:${turn}`;
		const since = await world.realtime.cursor(userChannel, { channelParams: String(turn) });
		publish(channel, '1', '2');
		const page = await world.open({ channel, since });
		publish(channel, '3');
		await page.when(() => page.texts.length === 3);
		expect(page.texts).toEqual(['1', '2', '3']);
		expect(page.frames.some(({ event }) => event === 'resync')).toBe(false);
		page.close();
	}
});

test('an unknown topic is refused in words, and so is a closed endpoint', async () => {
	world = await startWorld({ channels });
	await expect(
		// @ts-expect-error The channel has no such topic.
		world.realtime.cursor(demoChannel, { topics: ['nope'] })
	).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' });
	world.realtime.close();
	await expect(world.realtime.cursor(demoChannel)).rejects.toMatchObject({ code: 'CLOSED' });
});

test('an endpoint that is closed while a cursor is waited for lets the page go on at once', async () => {
	await startScripted();
	inngest!.onUpgrade = () => false;
	const timers = new OwnTimers();
	try {
		const waiting = endpoint!.realtime.cursor(demoChannel);
		await until(() => inngest!.connections === 1, 'a socket to be asked for');
		expect(timers.size).toBeGreaterThan(0);
		endpoint!.realtime.close();
		expect(await waiting).toMatch(/^unknown-/);
		await until(() => inngest!.connections === 0, 'the socket to be closed');
		expect(timers.size).toBe(0);
	} finally {
		timers.restore();
	}
});

test('with `scope: request` the page is told that messages may be missing', async () => {
	world = await startWorld({ channels, scope: 'request' });
	const since = await world.realtime.cursor(demoChannel);
	await eventually(() => world!.engine.sockets === 0);
	const page = await world.open({ channel: 'demo', since });
	await page.connected();
	expect(page.frames.map(({ event }) => event)).toEqual(['health', 'resync', 'health']);
});
