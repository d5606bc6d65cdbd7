import { setImmediate as immediate } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { ReplayOptions, ReplaySlice, ReplayStore } from '../../src/lib/server/index.js';
import { MemoryReplayStore } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import type { SseReader } from '../support/sse.js';
import { RemoteStore, SharedLog } from '../support/store.js';
import { story } from '../support/upstream.js';
import { deferred, eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const channels = { demo: { channel: demoChannel, authorize: () => true } };

/** Stores by kind; each is made for one test. */
const stores: [string, () => ReplayOptions | ReplayStore][] = [
	['memory', () => ({})],
	['a store on another machine', () => new RemoteStore(immediate)],
	['a shared store', () => new SharedLog().connect()]
];

function say(message: string, topic = 'message'): void {
	world.engine.publish({ channel: 'demo', topic, data: { message } });
}

async function connect(body: object = {}): Promise<SseReader> {
	const stream = await world.open({ channel: 'demo', ...body });
	await stream.connected();
	return stream;
}

/** Publishes messages, and resolves when a reader has all of them. */
async function fill(...messages: string[]): Promise<SseReader> {
	const witness = await connect();
	for (const message of messages) say(message);
	await witness.when(() => witness.texts.length === messages.length);
	return witness;
}

const numbers = (from: number, to: number): string[] =>
	Array.from({ length: to - from + 1 }, (_, index) => String(from + index));

const textOf = (item: { kind: string; data?: unknown }): string =>
	item.kind === 'resync' ? 'resync' : (item.data as { message: string }).message;

test.each(stores)('with %s the last messages come first, marked, in order', async (_, store) => {
	world = await startWorld({ channels, replay: store() });
	const witness = await fill(...numbers(1, 5));
	const stream = await connect({ history: 3 });
	say('6');
	await stream.when(() => stream.texts.length === 4);
	expect(story(stream)).toEqual(['connecting', '3', '4', '5', 'connected', '6']);
	expect(stream.messages.map(({ history }) => history)).toEqual([true, true, true, undefined]);
	// They have the positions that they had, from which a page can go on.
	const ids = ({ frames }: SseReader): (string | undefined)[] =>
		frames.flatMap(({ event, id }) => (event === 'message' ? [id] : []));
	await witness.when(() => witness.texts.length === 6);
	expect(ids(stream)).toEqual(ids(witness).slice(-4));
	const again = await connect({ history: 3, lastEventId: ids(stream)[1] });
	expect(story(again)).toEqual(['connecting', '5', '6', 'connected']);
	expect(again.messages.some(({ history }) => history)).toBe(false);
});

test.each(stores)(
	'with %s there may be fewer messages than asked for, or none',
	async (_, store) => {
		world = await startWorld({ channels, replay: store() });
		const first = await connect({ history: 10 });
		expect(story(first)).toEqual(['connecting', 'connected']);
		say('1');
		say('2');
		await first.when(() => first.texts.length === 2);
		expect(first.messages.some(({ history }) => history)).toBe(false);
		const second = await connect({ history: 10 });
		expect(story(second)).toEqual(['connecting', '1', '2', 'connected']);
	}
);

test('only topics that are allowed now count, however many others lie between', async () => {
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: ({ params }) => (params.admin ? true : { allowedTopics: ['message'] })
			}
		}
	});
	const witness = await connect({ params: { admin: true } });
	for (const text of ['1', '2', '3']) say(text);
	for (let n = 0; n < 500; n++) say('secret', 'admin-message');
	await witness.when(() => witness.texts.length === 503);
	const stream = await connect({ history: 2 });
	expect(story(stream)).toEqual(['connecting', '2', '3', 'connected']);
	const admin = await connect({ history: 2, params: { admin: true } });
	expect(story(admin)).toEqual(['connecting', 'secret', 'secret', 'connected']);
});

test('a history that is longer than a page is whole', async () => {
	world = await startWorld({
		channels,
		replay: { maxEvents: 5_000 },
		limits: { maxHistory: 5_000 }
	});
	await fill(...numbers(1, 3_000));
	const stream = await connect({ history: 2_500 });
	expect(stream.texts).toEqual(numbers(501, 3_000));
	expect(stream.messages.every(({ history }) => history)).toBe(true);
});

test.each(stores)(
	'with %s nothing is missing and nothing repeated while messages pour in',
	async (_, store) => {
		world = await startWorld({ channels, replay: store() });
		await fill('1', '2', '3');
		let published = 3;
		let pouring = true;
		const pour = (async () => {
			while (pouring) {
				for (let n = 0; n < 3; n++) say(String(++published));
				await immediate();
				await immediate();
			}
		})();
		const streams: SseReader[] = [];
		for (let turn = 0; turn < 10; turn++) {
			const stream = await world.open({ channel: 'demo', history: 5 });
			await stream.when(() => stream.texts.length > 20);
			streams.push(stream);
		}
		pouring = false;
		await pour;
		for (const stream of streams) {
			await stream.when(() => stream.texts.at(-1) === String(published));
			expect(stream.texts).toEqual(numbers(Number(stream.texts[0]), published));
			const marks = stream.messages.map(({ history }) => history === true);
			expect(marks.lastIndexOf(true)).toBe(marks.indexOf(false) - 1);
			expect(marks.filter(Boolean).length).toBeLessThanOrEqual(5);
			expect(story(stream).some((word) => word.startsWith('resync'))).toBe(false);
		}
	}
);

test.each([
	['at once', (allowed: boolean) => allowed],
	['later', (allowed: boolean) => immediate(allowed)]
])('each message of the history passes its check, which answers %s', async (_, answer) => {
	const asked: [string, unknown][] = [];
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => true,
				reauthorize: ({ message, params }) => {
					if (params.asks) asked.push([message.data.message, message.history]);
					return answer(!params.asks || message.data.message !== '5');
				}
			}
		},
		onFailure: () => {},
		reauthorizeOnEachMessage: true
	});
	await fill(...numbers(1, 4));
	const stream = await connect({ history: 2, params: { asks: true } });
	expect(story(stream)).toEqual(['connecting', '3', '4', 'connected']);
	say('5');
	await stream.end();
	expect(stream.texts).toEqual(['3', '4']);
	expect(asked).toEqual([
		['3', true],
		['4', true],
		['5', undefined]
	]);
});

test('a gap between the messages of a history is announced, one before them is not', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const witness = await fill('1');
	world.engine.dropSockets();
	await witness.when(() => witness.statuses.length === 4);
	say('2');
	await witness.when(() => witness.texts.length === 2);
	const short = await connect({ history: 1 });
	expect(story(short)).toEqual(['connecting', '2', 'connected']);
	const long = await connect({ history: 2 });
	expect(story(long)).toEqual(['connecting', '1', 'resync upstream-gap', '2', 'connected']);
});

test('an iteration begins with history too', async () => {
	world = await startWorld({ channels });
	const witness = await fill('1', '2', '3');
	const items = world.realtime.subscribe(demoChannel, { history: 2 });
	const first = (await items.next()).value!;
	expect(first).toMatchObject({ data: { message: '2' }, history: true });
	expect((await items.next()).value).toMatchObject({ data: { message: '3' }, history: true });
	say('4');
	const live = (await items.next()).value!;
	expect(live).toMatchObject({ data: { message: '4' } });
	expect(live).not.toHaveProperty('history');
	await items.return();
	const lastEventId = witness.frames.findLast(({ event }) => event === 'message')!.id!;
	const again = world.realtime.subscribe(demoChannel, { history: 3, lastEventId });
	say('5');
	expect(textOf((await again.next()).value!)).toMatch(/[45]/);
	await again.return();
});

/** A store that lets the test do something after each page. */
class PagedStore implements ReplayStore {
	readonly memory: MemoryReplayStore;
	/** Called after a page was read, before it is handed over. */
	onPage: (page: number) => void | Promise<void> = () => {};
	pages = 0;

	constructor(options: ReplayOptions = {}) {
		this.memory = new MemoryReplayStore(options);
	}

	async append(...args: Parameters<MemoryReplayStore['append']>): Promise<readonly string[]> {
		return this.memory.append(...args);
	}

	async bounds(log: string): Promise<{ first: string; last: string }> {
		return this.memory.bounds(log);
	}

	async since(log: string, cursor: string, limit = 10): Promise<ReplaySlice> {
		const slice = this.memory.since(log, cursor, Math.min(limit, 10));
		await this.onPage(++this.pages);
		return slice;
	}
}

/** Publishes messages slowly enough for the log, and resolves when a reader has all of them. */
async function sayAll(witness: SseReader, texts: readonly string[]): Promise<void> {
	for (const text of texts) {
		say(text);
		await witness.when(() => witness.texts.at(-1) === text);
	}
}

test('where the log is trimmed while a history is read, what is missing is announced', async () => {
	const store = new PagedStore({ maxEvents: 40 });
	world = await startWorld({ channels, replay: store });
	const witness = await fill(...numbers(1, 40));
	store.pages = 0;
	// 40 messages are found in 4 pages. By the second page that is taken, all of them are gone.
	store.onPage = async (page) => {
		if (page !== 5) return;
		store.onPage = () => {};
		await sayAll(witness, numbers(41, 100));
	};
	const stream = await world.open({ channel: 'demo', history: 40 });
	await stream.when(() => stream.texts.at(-1) === '100');
	const words = story(stream);
	const gap = words.indexOf('resync expired');
	expect(words.slice(1, gap)).toEqual(numbers(1, 10));
	expect(words.slice(gap + 1, -1)).toEqual(numbers(61, 100));
	expect(stream.messages.filter(({ history }) => history)).toHaveLength(10);
});

test('if the beginning of a history is trimmed before it is read, the history is shorter', async () => {
	const store = new PagedStore({ maxEvents: 40 });
	world = await startWorld({ channels, replay: store });
	const witness = await fill(...numbers(1, 40));
	store.pages = 0;
	store.onPage = async (page) => {
		if (page !== 4) return;
		store.onPage = () => {};
		await sayAll(witness, numbers(41, 50));
	};
	const stream = await world.open({ channel: 'demo', history: 40 });
	await stream.when(() => stream.texts.at(-1) === '50');
	expect(story(stream).filter((word) => word !== 'connecting' && word !== 'connected')).toEqual(
		numbers(11, 50)
	);
	expect(stream.messages.filter(({ history }) => history)).toHaveLength(30);
});

test('a cursor that expires between two pages is announced in its place', async () => {
	const store = new PagedStore({ maxEvents: 40 });
	world = await startWorld({ channels, replay: store });
	const witness = await connect();
	const lastEventId = witness.lastId ?? witness.health().at(-1)!.cursor!;
	await sayAll(witness, numbers(1, 40));
	store.pages = 0;
	store.onPage = async (page) => {
		if (page !== 2) return;
		store.onPage = () => {};
		await sayAll(witness, numbers(41, 100));
	};
	const stream = await world.open({ channel: 'demo', lastEventId });
	await stream.when(() => stream.texts.at(-1) === '100');
	const words = story(stream);
	const gap = words.indexOf('resync expired');
	expect(words.slice(1, gap)).toEqual(numbers(1, 20));
	expect(words.slice(gap + 1, -1)).toEqual(numbers(61, 100));
});

test('a reader that leaves while its history is read asks for no more of it', async () => {
	const store = new PagedStore();
	world = await startWorld({ channels, replay: store });
	await fill(...numbers(1, 200));
	const held = deferred();
	store.pages = 0;
	store.onPage = () => held.promise;
	const stream = await world.open({ channel: 'demo', history: 200 });
	await eventually(() => store.pages === 1);
	stream.close();
	await eventually(() => world.realtime.stats().streams === 1);
	held.resolve();
	// Long enough for all of it.
	await connect({ history: 1 });
	const { pages } = store;
	await connect({ history: 1 });
	expect(pages - 1).toBe(store.pages - pages);
});

test('the last few messages of a long log are read without the rest of it', async () => {
	const store = new PagedStore({ maxEvents: 5_000 });
	world = await startWorld({ channels, replay: store });
	await fill(...numbers(1, 2_000));
	store.pages = 0;
	const stream = await connect({ history: 3 });
	expect(stream.texts).toEqual(['1998', '1999', '2000']);
	expect(store.pages).toBeLessThanOrEqual(3);
});

test('what overtakes a read that takes long is bounded, and arrives whole', async () => {
	const store = new PagedStore({ maxEvents: 10_000 });
	world = await startWorld({ channels, replay: store });
	const witness = await connect();
	const lastEventId = witness.lastId ?? witness.health().at(-1)!.cursor!;
	say('1');
	await witness.when(() => witness.texts.length === 1);
	const held = deferred();
	store.onPage = () => {
		store.onPage = () => {};
		return held.promise;
	};
	const stream = await world.open({ channel: 'demo', lastEventId });
	await eventually(() => world.realtime.stats().streams === 2);
	for (let n = 2; n <= 3_000; n++) {
		say(String(n));
		if (n % 50 === 0) await immediate();
	}
	await witness.when(() => witness.texts.length === 3_000);
	const { pages } = store;
	held.resolve();
	await stream.when(() => stream.texts.length === 3_000);
	expect(stream.texts).toEqual(numbers(1, 3_000));
	// What was not kept was read from the log.
	expect(store.pages).toBeGreaterThan(pages);
});

test('a store that fails in the middle of a history ends the stream, which may come back', async () => {
	const store = new PagedStore();
	world = await startWorld({ channels, replay: store, onFailure: () => {} });
	await fill(...numbers(1, 30));
	store.pages = 0;
	store.onPage = (page) => {
		if (page > 3) throw new Error('down');
	};
	const stream = await world.open({ channel: 'demo', history: 30 });
	await stream.end();
	expect(stream.health().at(-1)).toMatchObject({ status: 'degraded', code: 503 });
	expect(stream.health().at(-1)!.fatal).not.toBe(true);
	store.onPage = () => {};
	const again = await connect({ history: 30 });
	expect(again.texts).toEqual(numbers(1, 30));
});
