import { afterEach, expect, expectTypeOf, test } from 'vitest';
import { getEventListeners } from 'node:events';
import { RemoteStore } from '../support/store.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { deferred, eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: { channel: userChannel, authorize: () => true }
};

const text = (item: { kind: string; data?: unknown }): string =>
	item.kind === 'resync' ? 'resync' : (item.data as { message: string }).message;

test('server code iterates over a channel from the feed that serves the browsers', async () => {
	world = await startWorld({ channels });
	const browser = await world.open({ channel: 'demo' });
	await browser.connected();
	const items = world.realtime.subscribe(demoChannel, { topics: ['message'] });
	const first = items.next();
	await world.publish('demo', 'admin-message', { message: 'not asked for' });
	await world.publish('demo', 'message', { message: 'one' });
	const { value } = await first;
	if (!value || value.kind === 'resync') throw new Error('nothing was missed');
	expectTypeOf(value.data).toEqualTypeOf<{ message: string }>();
	expect(value.data.message).toBe('one');
	expect(world.realtime.stats()).toMatchObject({
		hub: { feeds: 1, sources: { inngest: { sockets: 1 } } }
	});
	await items.return();
});

test('an iteration goes on after its cursor, and ends by its signal', async () => {
	world = await startWorld({ channels });
	const abort = new AbortController();
	const browser = await world.open({ channel: 'demo' });
	await browser.connected();
	for (const message of ['1', '2', '3']) await world.publish('demo', 'message', { message });
	await browser.when(() => browser.messages.length === 3);
	const lastEventId = browser.frames.find(({ event }) => event === 'message')!.id!;
	const seen: string[] = [];
	const reading = (async () => {
		for await (const item of world.realtime.subscribe(demoChannel, {
			lastEventId,
			signal: abort.signal
		})) {
			seen.push(text(item));
			if (seen.length === 2) await world.publish('demo', 'message', { message: '4' });
			if (seen.length === 3) abort.abort();
		}
	})();
	await reading;
	expect(seen).toEqual(['2', '3', '4']);
});

test('a slow consumer goes on from the replay log, and is told where that is too short', async () => {
	world = await startWorld({ channels, replay: { maxEvents: 1_500 } });
	const items = world.realtime.subscribe(demoChannel, { topics: ['message'] });
	const browser = await world.open({ channel: 'demo' });
	const first = items.next();
	await browser.connected();
	const publish = async (from: number, to: number): Promise<void> => {
		for (let n = from; n <= to; n++) {
			await world.publish('demo', 'message', { message: String(n) });
		}
		await eventually(() => world.realtime.stats().hub.messages === to);
	};
	await publish(1, 1_200);
	const seen = [text((await first).value!)];
	while (seen.length < 1_200) seen.push(text((await items.next()).value!));
	expect(seen).toEqual(Array.from({ length: 1_200 }, (_, index) => String(index + 1)));
	await publish(1_201, 4_200);
	// What waits for it comes first, then the log goes on as far back as it reaches.
	const kept: string[] = [];
	let item = (await items.next()).value!;
	for (; item.kind !== 'resync'; item = (await items.next()).value!) kept.push(text(item));
	expect(item).toMatchObject({ kind: 'resync', reason: 'expired' });
	expect(kept).toEqual(Array.from(kept, (_, index) => String(1_201 + index)));
	expect(kept.length).toBeLessThan(1_100);
	expect(text((await items.next()).value!)).toBe('2701');
	await items.return();
});

test('an iteration of an unknown topic or a closed endpoint is refused in words', async () => {
	world = await startWorld({ channels });
	// @ts-expect-error The channel has no such topic.
	expect(() => world.realtime.subscribe(demoChannel, { topics: ['nope'] })).toThrow(
		'Channel "demo" has no such topics: nope.'
	);
	const reading = world.realtime.subscribe(userChannel, { channelParams: 'alice' }).next();
	world.realtime.close();
	expect(await reading).toEqual({ done: true, value: undefined });
	expect(() => world.realtime.subscribe(demoChannel)).toThrow('closed');
});

test('a message is published from code outside of a function, validated and typed', async () => {
	world = await startWorld({ channels });
	const items = world.realtime.subscribe(userChannel, { channelParams: 'alice' });
	const browser = await world.open({ channel: 'demo' });
	await browser.connected();
	const first = items.next();
	await world.realtime.publish(demoChannel().message, { message: 'from a form action' });
	await browser.when(() => browser.messages.length === 1);
	await expect(
		// @ts-expect-error The schema asks for a string.
		world.realtime.publish(demoChannel().message, { message: 1 })
	).rejects.toMatchObject({ code: 'INVALID_MESSAGE' });
	await items.return();
	expect(await first).toEqual({ done: true, value: undefined });
	await world.engine.close();
	await expect(
		world.realtime.publish(demoChannel().message, { message: 'nobody is there' })
	).rejects.toMatchObject({ code: 'UPSTREAM' });
});

test('an iteration that goes on after its cursor gets the topics it asked for, and no others', async () => {
	world = await startWorld({ channels });
	const browser = await world.open({ channel: 'demo' });
	await browser.connected();
	const lastEventId = browser.lastId!;
	for (const [topic, message] of [
		['admin-message', 'secret'],
		['message', '1'],
		['admin-message', 'secret'],
		['message', '2']
	] as const) {
		await world.publish('demo', topic, { message });
	}
	await browser.when(() => browser.messages.length === 4);
	const items = world.realtime.subscribe(demoChannel, { topics: ['message'], lastEventId });
	const seen = [await items.next(), await items.next()].map(({ value }) => text(value!));
	await world.publish('demo', 'message', { message: '3' });
	seen.push(text((await items.next()).value!));
	expect(seen).toEqual(['1', '2', '3']);
	await items.return();
});

test('what is delivered while the log is read is not repeated', async () => {
	const store = new RemoteStore();
	world = await startWorld({ channels, replay: store });
	const browser = await world.open({ channel: 'demo' });
	await browser.connected();
	const lastEventId = browser.lastId!;
	await world.publish('demo', 'message', { message: '1' });
	await browser.when(() => browser.texts.length === 1);
	const held = deferred();
	// The first question after this is the iteration's: it is answered after what follows was delivered.
	store.delay = () => {
		store.delay = async () => {};
		return held.promise;
	};
	const items = world.realtime.subscribe(demoChannel, { lastEventId });
	await world.publish('demo', 'message', { message: '2' });
	await browser.when(() => browser.texts.length === 2);
	held.resolve();
	const seen = [await items.next(), await items.next()].map(({ value }) => text(value!));
	await world.publish('demo', 'message', { message: '3' });
	seen.push(text((await items.next()).value!));
	expect(seen).toEqual(['1', '2', '3']);
	await items.return();
});

test('however an iteration ends, it leaves no listener on its signal', async () => {
	world = await startWorld({ channels });
	const { signal } = new AbortController();
	const listeners = (): number => getEventListeners(signal, 'abort').length;
	const returned = world.realtime.subscribe(demoChannel, { signal });
	expect(listeners()).toBe(1);
	await returned.return();
	expect(listeners()).toBe(0);
	const closed = world.realtime.subscribe(demoChannel, { signal });
	world.realtime.close();
	expect(await closed.next()).toEqual({ done: true, value: undefined });
	expect(listeners()).toBe(0);
});

test('of concurrent calls of next() each gets its item, and at the end each is answered', async () => {
	world = await startWorld({ channels });
	const browser = await world.open({ channel: 'demo' });
	await browser.connected();
	const items = world.realtime.subscribe(demoChannel);
	const waiting = [items.next(), items.next(), items.next(), items.next()];
	await world.publish('demo', 'message', { message: '1' });
	await world.publish('demo', 'message', { message: '2' });
	const seen = [await waiting[0]!, await waiting[1]!].map(({ value }) => text(value!));
	expect(seen).toEqual(['1', '2']);
	await items.return();
	expect(await Promise.all(waiting.slice(2))).toEqual([
		{ done: true, value: undefined },
		{ done: true, value: undefined }
	]);
});

test('an iteration whose signal was aborted before is over, and holds nothing', async () => {
	world = await startWorld({ channels });
	const signal = AbortSignal.abort();
	const items = world.realtime.subscribe(demoChannel, { signal });
	expect(await items.next()).toEqual({ done: true, value: undefined });
	expect(getEventListeners(signal, 'abort')).toEqual([]);
	expect(world.realtime.stats().hub.feeds).toBe(0);
});

test('an iteration whose history is no number of messages is refused', async () => {
	world = await startWorld({ channels });
	await world.realtime.cursor(demoChannel);
	for (const history of [-1, NaN]) {
		expect(() => world.realtime.subscribe(demoChannel, { history })).toThrow(
			expect.objectContaining({ code: 'INVALID_OPTION' })
		);
	}
});
