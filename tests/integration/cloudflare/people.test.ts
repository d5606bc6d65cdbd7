import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { durableObjectBackend } from '../../../src/lib/cloudflare/index.js';
import { Watcher } from '../../support/people.js';
import type { Frame, SseReader } from '../../support/sse.js';
import { seeded } from '../../support/random.js';
import { eventually } from '../../support/wait.js';
import { WorkersWorld, type Isolate } from '../../support/workers/world.js';

/** Times that ten streams come at once where many do. */
const STEPS = process.env.LONG ? 24 : 8;

let world: WorkersWorld;
beforeAll(async () => {
	world = await WorkersWorld.start();
}, 60_000);
afterAll(() => world?.close());
afterEach(() => world?.closeReaders());
beforeEach(async () => {
	await eventually(async () => !(await world.stats()).isBeating, 'all lines to have ended');
	await Promise.all([hooksOf('a'), hooksOf('b')]);
});

async function open(
	isolate: Isolate,
	user: string,
	channel: string | readonly string[] = 'demo',
	role = 'guest'
): Promise<SseReader> {
	const names = [channel].flat();
	const subscriptions = names.map((channel) => ({ channel }));
	const reader = await world.open(isolate, { subscriptions }, headersOf(user, role));
	for (const name of names) await reader.connected(name);
	return reader;
}

const headersOf = (user: string, role = 'guest') => ({ 'x-user': user, 'x-role': role });

/** A stream of the board, and what it shows of the members. */
async function watch(isolate: Isolate, user: string): Promise<Watcher> {
	const watcher = new Watcher(await open(isolate, user, 'board'), user, '');
	await watcher.reader.when(() => watcher.types.includes('sync'), 'the members');
	return watcher;
}

const names = ({ members }: Watcher): string[] => [...members.keys()].sort();

const shows = (watcher: Watcher, ...ids: string[]): Promise<void> =>
	watcher.reader.when(() => names(watcher).join() === ids.join(), `the members ${ids.join()}`);

const hooksOf = (isolate: Isolate): Promise<string[]> => world.ask(isolate, '/hooks', {});

const isOver =
	(code: number) =>
	({ data }: Frame): boolean =>
		'code' in data && data.code === code;

test('members of all isolates see each other come, change for a while, and go', async () => {
	const anna = await watch('a', 'anna');
	const ben = await watch('b', 'ben');
	await shows(anna, 'anna', 'ben');
	await shows(ben, 'anna', 'ben');
	for (const isolate of ['a', 'b'] as const) {
		const members = await world.ask<{ id: string }[]>(isolate, '/members', {});
		expect(members.map(({ id }) => id)).toEqual(['anna', 'ben']);
	}
	const { stream } = ben.payloads.find(({ type }) => type === 'sync') as { stream: string };
	const update = { presence: { stream, data: { isTyping: true }, ttlMs: 1_500 } };
	// Whichever isolate takes the request.
	await world.ask('a', '/', update, headersOf('ben'));
	const heard = (watcher: Watcher) =>
		watcher.payloads.flatMap((payload) =>
			payload.type === 'update' ? payload.members.map(({ data }) => data) : []
		);
	for (const watcher of [anna, ben]) {
		await watcher.reader.when(() => heard(watcher).length === 2, 'both updates');
		expect(heard(watcher)).toEqual([{ isTyping: true }, {}]);
	}
	const refused = await world.ask<{ message: string }>('a', '/', update, headersOf('anna'));
	expect(JSON.stringify(refused)).toContain('This stream is not open');
	anna.reader.close();
	await shows(ben, 'ben');
	ben.reader.close();
	await eventually(async () => (await world.ask<unknown[]>('a', '/members', {})).length === 0);
	expect([await hooksOf('a'), await hooksOf('b')]).toEqual([
		['join anna', 'leave anna'],
		['join ben', 'leave ben']
	]);
});

test('a member that comes back through another isolate in time has not left', async () => {
	const ben = await watch('b', 'ben');
	const first = await watch('a', 'anna');
	await shows(ben, 'anna', 'ben');
	first.reader.close();
	const second = await watch('b', 'anna');
	await eventually(async () => {
		const [anna] = await world.ask<{ streams: number }[]>('b', '/members', {});
		return anna?.streams === 1;
	}, 'the first stream to be gone');
	expect(ben.types).not.toContain('leave');
	second.reader.close();
	await shows(ben, 'ben');
	const hooks = [...(await hooksOf('a')), ...(await hooksOf('b'))].sort();
	expect(hooks).toEqual(['join anna', 'join ben', 'leave anna']);
});

test('a channel that is full is full in every isolate', async () => {
	await open('a', 'one', 'room');
	await open('b', 'two', 'room');
	await open('a', 'two', 'room');
	await expect(open('b', 'three', 'room')).rejects.toThrow('409');
});

test('emitTo reaches a member, or those with an attribute, in all isolates and nobody else', async () => {
	const [anna, second, ben, carl] = [
		await open('a', 'anna', 'demo', 'admin'),
		await open('b', 'anna', 'demo', 'admin'),
		await open('b', 'ben', 'demo', 'admin'),
		await open('a', 'carl')
	];
	expect(await world.ask('b', '/emitTo', { user: 'anna', text: 'to anna' })).toBe(2);
	expect(await world.ask('a', '/emitTo', { target: { role: 'admin' }, text: 'to admins' })).toBe(3);
	expect(await world.ask('a', '/emitTo', { user: 'nobody', text: 'x' })).toBe(0);
	for (const reader of [anna, second]) {
		await reader.when(() => reader.texts.length === 2, 'both messages');
		expect(reader.texts).toEqual(['to anna', 'to admins']);
	}
	await ben.when(() => ben.texts.length === 1, 'its message');
	expect([ben.texts, carl.texts]).toEqual([['to admins'], []]);
});

test('remove, ban, end and recheck reach the streams of all isolates', async () => {
	const [anna, other, otto, carl, dora] = [
		await open('a', 'anna'),
		await open('b', 'anna'),
		await open('a', 'otto'),
		await open('b', 'carl'),
		await open('b', 'dora', 'board')
	];
	expect(await world.ask('a', '/remove', { user: 'anna' })).toBe(2);
	for (const reader of [anna, other]) {
		await reader.until(isOver(403), 'its removal');
		await reader.end();
	}
	await world.ask('b', '/ban', { key: 'otto' });
	await otto.until(isOver(429), 'its ban');
	await expect(open('b', 'otto')).rejects.toThrow('429');
	expect(await world.ask('a', '/end', {})).toBe(1);
	await carl.until(isOver(410), 'the end');
	await world.ask('b', '/revoke', { user: 'dora' });
	await world.ask('a', '/recheck', { user: 'dora' });
	await dora.until(isOver(403), 'the answer of authorize');
});

interface Asked {
	id: string;
	data?: unknown;
	isOver?: boolean;
}

const asked = (reader: SseReader): Asked[] =>
	reader.frames.flatMap(({ event, data }) =>
		(event as string) === 'ask' ? [data as unknown as Asked] : []
	);

test('ask() asks the pages of a member in all isolates, and takes the first answer through any', async () => {
	const pages = [
		await open('a', 'anna', 'board'),
		await open('b', 'anna', 'board'),
		await open('b', 'anna', 'board')
	];
	const answer = world.ask('a', '/ask', { user: 'anna', text: 'Sure?' });
	for (const page of pages) await page.when(() => asked(page).length === 1, 'the question');
	const { id } = asked(pages[2]!)[0]!;
	const reply = { answer: { id, data: 'yes' } };
	const denied = await world.ask('a', '/', reply, headersOf('ben'));
	expect(JSON.stringify(denied)).toContain('Somebody else was asked');
	await world.ask('a', '/', reply, headersOf('anna'));
	expect(await answer).toBe('yes');
	for (const page of pages) {
		await page.when(() => asked(page).at(-1)?.isOver === true, 'the end of the question');
	}
	const code = async (body: object) =>
		(await world.ask<{ code: string }>('a', '/ask', { text: 'x', ...body })).code;
	await open('b', 'ben', 'demo');
	expect(await code({ user: 'nobody' })).toBe('NOBODY');
	expect(await code({ user: 'ben' })).toBe('DENIED');
	expect(await code({ user: 'anna', timeoutMs: 300 })).toBe('TIMEOUT');
});

test('an object that is evicted knows everybody again, and nobody is told that they left', async () => {
	const watchers = [await watch('a', 'anna'), await watch('b', 'ben')];
	for (const watcher of watchers) await shows(watcher, 'anna', 'ben');
	await world.object('evict');
	await eventually(async () => {
		const members = await world.ask<{ id: string }[]>('a', '/members', {});
		return Array.isArray(members) && members.length === 2;
	}, 'the members to be back');
	await eventually(
		async () => (await world.ask<number>('a', '/readers', { channel: 'board' })) === 2,
		'the streams to be back'
	);
	await watch('b', 'carl');
	for (const watcher of watchers) {
		await shows(watcher, 'anna', 'ben', 'carl');
		expect(watcher.types).not.toContain('leave');
	}
	expect([...(await hooksOf('a')), ...(await hooksOf('b'))].sort()).toEqual([
		'join anna',
		'join ben',
		'join carl'
	]);
});

test('who leaves while the object restarts has left, and one hook is called', async () => {
	const anna = await watch('a', 'anna');
	const [ben, carl] = [await watch('b', 'ben'), await watch('b', 'carl')];
	await shows(anna, 'anna', 'ben', 'carl');
	ben.reader.close();
	await world.object('evict');
	carl.reader.close();
	await shows(anna, 'anna');
	const hooks = [...(await hooksOf('a')), ...(await hooksOf('b'))];
	expect(hooks.filter((hook) => hook.startsWith('leave')).sort()).toEqual([
		'leave ben',
		'leave carl'
	]);
});

test('members of an isolate that dies without a word leave, and one isolate calls the hook', async () => {
	const watchers = [await watch('a', 'anna'), await watch('b', 'ben')];
	const death = new AbortController();
	const { presence, close } = durableObjectBackend({
		idFromName: (name) => name,
		get: (name: never) => ({
			fetch: (_url: string, init: RequestInit): Promise<Response> =>
				fetch(`${world.hubUrl}call?object=${encodeURIComponent(name)}`, {
					...init,
					signal: AbortSignal.any([death.signal, init.signal!])
				})
		})
	});
	const channel = JSON.stringify(['board', 'board']);
	const lease = { owner: 'dying', leaseMs: 300 };
	presence.listen(channel, { changes() {}, check() {} }, lease);
	const holding = { id: 'ghost', data: '{}', streams: 1 };
	await presence.join(channel, 'dying', holding, { leaseMs: 300 });
	for (const watcher of watchers) await shows(watcher, 'anna', 'ben', 'ghost');
	// A lease lasts as long as its line.
	await new Promise((resolve) => setTimeout(resolve, 1_000));
	expect(names(watchers[0]!)).toContain('ghost');
	death.abort();
	for (const watcher of watchers) await shows(watcher, 'anna', 'ben');
	close!();
	const hooks = [...(await hooksOf('a')), ...(await hooksOf('b'))];
	expect(hooks.filter((hook) => hook === 'leave ghost')).toEqual(['leave ghost']);
});

test('what a page sends is taken in the request of its stream, whatever becomes of its own', async () => {
	const anna = await watch('a', 'anna');
	const { stream } = anna.payloads[0] as { stream: string };
	const send = (isolate: Isolate, presence: object) =>
		world.ask(isolate, '/', { presence: { stream, ...presence } }, headersOf('anna'));
	const typingOf = ({ members }: Watcher): unknown =>
		(members.get('anna')?.data as { isTyping?: boolean } | undefined)?.isTyping;
	const syncs = (): number => anna.types.filter((type) => type === 'sync').length;
	for (const [count, isolate] of (['a', 'b', 'a'] as const).entries()) {
		await send(isolate, { sync: true });
		await anna.reader.when(() => syncs() === count + 2, 'the members again');
	}
	for (const isolate of ['a', 'b'] as const) {
		const body = { presence: { stream, data: { slowMs: 500 } } };
		const page = AbortSignal.timeout(150);
		await world.open(isolate, body, headersOf('anna'), page).catch(() => {});
		await send(isolate, { data: { isTyping: isolate === 'a' }, reset: true });
		await anna.reader.when(
			() => typingOf(anna) === (isolate === 'a'),
			'the change after one whose page is gone'
		);
	}
});

test('many streams that come and go in two isolates, while the object restarts, end with the right members', async () => {
	const random = seeded(19);
	const pick = (count: number): number => Math.floor(random() * count);
	const open = new Map<Watcher, string>();
	let opened = 0;
	const come = async (isolate: Isolate, user: string): Promise<void> => {
		const watcher = new Watcher(
			await world.open(isolate, { channel: 'board' }, headersOf(user)),
			user,
			''
		);
		open.set(watcher, user);
	};
	const balance = new Map<string, number>();
	/** Members for whom `onJoin` and `onLeave` were not called as often as they should. */
	const unbalanced = async (ids: readonly string[]): Promise<[string, number][]> => {
		for (const hook of [...(await hooksOf('a')), ...(await hooksOf('b'))]) {
			const [, name, id] = /^(\w+) (.+)$/.exec(hook)!;
			balance.set(id!, (balance.get(id!) ?? 0) + (name === 'join' ? 1 : -1));
		}
		return [...balance].filter(([id, count]) => count !== (ids.includes(id) ? 1 : 0));
	};
	const present = (): string[] => [...new Set(open.values())].sort();
	const wrong = (): Watcher[] => {
		// One that was about to begin when the object restarted is told to come back.
		for (const watcher of open.keys()) if (watcher.reader.ended) open.delete(watcher);
		return [...open.keys()].filter(({ ids }) => ids.join() !== present().join());
	};
	const isRight = async (): Promise<void> => {
		const counts = async (): Promise<number[]> =>
			Promise.all(
				(['a', 'b'] as const).map((isolate) =>
					world.ask<number>(isolate, '/readers', { channel: 'board' })
				)
			);
		await eventually(
			async () => {
				await new Promise((resolve) => setTimeout(resolve, 100));
				return wrong().length === 0 && (await counts()).every((count) => count === open.size);
			},
			() => `${present().join()} in ${open.size} streams: ${wrong()[0]?.ids.join()}`
		);
		expect(open.size).toBeGreaterThan(10);
	};
	for (let step = 0; step < STEPS; step++) {
		// Hooks can be called twice where the object forgot who was there.
		if (step === STEPS / 2) {
			await isRight();
			expect(await unbalanced(present())).toEqual([]);
		}
		const coming = Array.from({ length: 10 }, () =>
			come((['a', 'b'] as const)[pick(2)]!, `member ${pick(25)}`)
		);
		opened += coming.length;
		for (const watcher of [...open.keys()].filter(() => random() < 0.3)) {
			open.delete(watcher);
			watcher.close();
		}
		if (step >= STEPS / 2 && step % 2 === 0) await world.object('evict');
		await Promise.all(coming);
	}
	expect(opened).toBe(10 * STEPS);
	await isRight();
	world.closeReaders();
	await eventually(async () => {
		const { readers, streams, questions, members } = await world.stats();
		return readers + streams + questions + members === 0;
	}, 'nothing to be left');
	expect(world.lines.filter((line) => /different request|hung|hanging/i.test(line))).toEqual([]);
});

test('questions that fit nobody leave nothing behind', async () => {
	const anna = await open('a', 'anna');
	expect(await world.ask('b', '/emitTo', { user: 'nobody', text: 'x' })).toBe(0);
	expect(await world.ask('b', '/emitTo', { user: 'anna', text: 'x' })).toBe(1);
	expect((await world.ask<{ code: string }>('a', '/ask', { user: 'nobody', text: 'x' })).code).toBe(
		'NOBODY'
	);
	expect(await world.stats()).toMatchObject({ questions: 0, streams: 1 });
	anna.close();
});

test('whoever is named by nothing, or by what JSON cannot carry, is nobody', async () => {
	const odd = await world.open(
		'a',
		{ channel: 'demo' },
		{ ...headersOf('anna', 'admin'), 'x-odd': '1' }
	);
	await odd.connected();
	const plain = await open('b', 'ben', 'demo', 'admin');
	const emitTo = (isolate: Isolate, target?: unknown) =>
		world.ask<{ code?: string } | number>(isolate, '/emitTo', { target, text: 'x' });
	for (const isolate of ['a', 'b'] as const) {
		for (const [target, count] of [
			['anna', 1],
			[{ role: 'admin' }, 2],
			[{ since: new Date(0) }, 1],
			[{ big: 10 }, 0],
			[{ circle: {} }, 0],
			[{ none: null }, 0],
			['__proto__', 0],
			[JSON.parse('{"__proto__":{}}'), 0],
			[{ constructor: {} }, 0],
			[{}, 0],
			['', 0],
			['x'.repeat(10_000), 0]
		] as const) {
			expect([target, await emitTo(isolate, target)]).toEqual([target, count]);
		}
		for (const target of [undefined, null, 5]) {
			expect(await emitTo(isolate, target)).toMatchObject({ code: 'INVALID_OPTION' });
		}
	}
	expect(await world.ask('b', '/isOnline', { user: 'anna' })).toBe(true);
	for (const path of ['/isOnline', '/remove', '/ask']) {
		expect(await world.ask('b', path, {})).toMatchObject({ code: 'INVALID_OPTION' });
	}
	plain.close();
});

test('with several objects one of them knows all streams, and each has the members of its channels', async () => {
	const anna = await watch('spread', 'anna');
	const reader = await open('spread', 'ben', 'demo');
	const carl = await watch('spread', 'carl');
	await shows(anna, 'anna', 'carl');
	expect(await world.ask('spread', '/emitTo', { user: 'ben', text: 'hello' })).toBe(1);
	await reader.when(() => reader.texts.includes('hello'), 'the message');
	expect(await world.ask('spread', '/readers', { channel: 'board' })).toBe(2);
	carl.reader.close();
	await shows(anna, 'anna');
});

test('without the binding the readers of an isolate see each other', async () => {
	const anna = await watch('alone', 'anna');
	const ben = await watch('alone', 'ben');
	await shows(anna, 'anna', 'ben');
	expect(await world.ask('alone', '/readers', { channel: 'board' })).toBe(2);
	// The requests of a stream end with it, and nothing of the others.
	anna.reader.close();
	await shows(ben, 'ben');
	const carl = await watch('alone', 'carl');
	await shows(ben, 'ben', 'carl');
	expect(await world.ask('alone', '/emitTo', { user: 'ben', text: 'x' })).toBe(0);
	carl.reader.close();
	await shows(ben, 'ben');
});

test('a member costs six requests when it comes and one when it goes, and a change one', async () => {
	const { requests } = await world.stats();
	const count = async (): Promise<number> => (await world.stats()).requests - requests;
	const anna = await watch('a', 'anna');
	const ben = await watch('b', 'ben');
	await shows(anna, 'anna', 'ben');
	expect(await count()).toBe(12);
	const { stream } = ben.payloads[0] as { stream: string };
	await world.ask('b', '/', { presence: { stream, data: { isTyping: true } } }, headersOf('ben'));
	await anna.reader.when(() => anna.types.includes('update'), 'the change');
	// The request of the page counts against its rate.
	expect(await count()).toBe(14);
	ben.reader.close();
	await shows(anna, 'anna');
	expect(await count()).toBe(15);
});

test('readers() and isOnline() count the streams of all isolates', async () => {
	const count = (isolate: Isolate, channel: string) =>
		world.ask<number>(isolate, '/readers', { channel });
	await open('a', 'anna', ['demo', 'board']);
	await open('b', 'ben', 'demo');
	const carl = await open('b', 'carl', 'board');
	for (const isolate of ['a', 'b'] as const) {
		expect(await count(isolate, 'demo')).toBe(2);
		await eventually(
			async () => (await count(isolate, 'board')) === 2,
			'both channels of a stream'
		);
		expect(await world.ask(isolate, '/isOnline', { user: 'carl' })).toBe(true);
		expect(await world.ask(isolate, '/isOnline', { user: 'dora' })).toBe(false);
	}
	carl.close();
	await eventually(
		async () => !(await world.ask('a', '/isOnline', { user: 'carl' })),
		'to be gone'
	);
	expect(await count('a', 'board')).toBe(1);
});
