import { afterEach, expect, test } from 'vitest';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { FakeServer } from '../support/backend.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { clientAt } from '../support/upstream.js';

const open: Realtime[] = [];
afterEach(() => open.splice(0).forEach((realtime) => realtime.close()));

const channels = {
	demo: { channel: demoChannel, authorize: () => true, source: false as const },
	user: {
		channel: userChannel,
		channelParams: () => 'alice',
		authorize: () => true,
		source: false as const
	}
};

function start(options: object = {}): Realtime {
	const realtime = createRealtime({
		inngest: clientAt('http://127.0.0.1:9'),
		channels,
		...options
	});
	open.push(realtime);
	return realtime;
}

async function emit(realtime: Realtime, ...texts: string[]): Promise<string[]> {
	const cursors: string[] = [];
	for (const message of texts) {
		cursors.push((await realtime.emit(demoChannel().message, { message })).cursor);
	}
	return cursors;
}

const textsOf = ({ messages }: { messages: readonly { data: unknown }[] }): string[] =>
	messages.map(({ data }) => (data as { message: string }).message);

for (const [kind, options] of [
	['memory', () => ({})],
	['a backend', () => ({ backend: new FakeServer().connect() })]
] as const) {
	test(`the newest, those that follow a cursor, those before one: in ${kind}`, async () => {
		const realtime = start(options());
		expect(await realtime.history(demoChannel)).toEqual({
			messages: [],
			cursor: expect.stringMatching(/-0$/)
		});
		const cursors = await emit(realtime, 'a', 'b', 'c', 'd');
		const all = await realtime.history(demoChannel);
		expect(textsOf(all)).toEqual(['a', 'b', 'c', 'd']);
		expect(all.messages.map(({ cursor }) => cursor)).toEqual(cursors);
		expect(all.cursor).toBe(cursors[3]);

		const newest = await realtime.history(demoChannel, { limit: 2 });
		expect(textsOf(newest)).toEqual(['c', 'd']);
		const older = await realtime.history(demoChannel, {
			limit: 2,
			before: newest.messages[0]!.cursor
		});
		expect(textsOf(older)).toEqual(['a', 'b']);

		const first = await realtime.history(demoChannel, { since: cursors[0]!, limit: 2 });
		expect(textsOf(first)).toEqual(['b', 'c']);
		expect(first.cursor).toBe(cursors[2]);
		const rest = await realtime.history(demoChannel, { since: first.cursor });
		expect(textsOf(rest)).toEqual(['d']);
		expect(await realtime.history(demoChannel, { since: rest.cursor })).toEqual({
			messages: [],
			cursor: cursors[3]
		});
		const between = await realtime.history(demoChannel, {
			since: cursors[0]!,
			before: cursors[2]!
		});
		expect(textsOf(between)).toEqual(['b']);
		expect(textsOf(await realtime.history(demoChannel, { topics: ['admin-message'] }))).toEqual([]);
		await expect(
			realtime.history(demoChannel, { topics: ['nothing' as never] })
		).rejects.toMatchObject({
			code: 'UNKNOWN_TOPIC'
		});
	});

	test(`from a date on: in ${kind}`, async () => {
		const realtime = start(options());
		await emit(realtime, 'a', 'b');
		await new Promise((resolve) => setTimeout(resolve, 5));
		const since = new Date();
		await emit(realtime, 'c', 'd');
		expect(textsOf(await realtime.history(demoChannel, { since }))).toEqual(['c', 'd']);
		expect(textsOf(await realtime.history(demoChannel, { since, limit: 1 }))).toEqual(['c']);
		expect(
			textsOf(await realtime.history(demoChannel, { since: new Date(Date.now() + 1e6) }))
		).toEqual([]);
	});

	test(`what is gone is told: in ${kind}`, async () => {
		const realtime = start({ ...options(), replay: { maxEvents: 2 } });
		const [first] = await emit(realtime, 'a', 'b', 'c', 'd');
		const late = await realtime.history(demoChannel, { since: first! });
		if (kind === 'memory') expect(late.missed).toBe('expired');
		const other = await realtime.history(demoChannel, { since: 'other-7' });
		expect(other.missed).toBe('restart');
		expect(textsOf(other).slice(-2)).toEqual(['c', 'd']);
	});

	test(`more than one page of the log: in ${kind}`, async () => {
		const realtime = start({ ...options(), replay: { maxEvents: 3_000 } });
		const texts = Array.from({ length: 2_500 }, (_, n) => String(n));
		await emit(realtime, ...texts);
		expect(textsOf(await realtime.history(demoChannel, { limit: 3 }))).toEqual([
			'2497',
			'2498',
			'2499'
		]);
		expect(
			(await realtime.history(demoChannel, { limit: 5_000 })).messages.length
		).toBeLessThanOrEqual(1_000);
	});
}

test('a channel with parameters, and options that cannot work', async () => {
	const realtime = start();
	await realtime.emit(userChannel('bob').message, { message: 'for bob' });
	expect(textsOf(await realtime.history(userChannel, { channelParams: 'bob' }))).toEqual([
		'for bob'
	]);
	expect(textsOf(await realtime.history(userChannel, { channelParams: 'eve' }))).toEqual([]);
	for (const options of [
		{ limit: 0 },
		{ limit: 1.5 },
		{ since: 'no cursor' },
		{ since: new Date(Number.NaN) },
		{ before: '' }
	]) {
		await expect(realtime.history(demoChannel, options)).rejects.toMatchObject({
			code: 'INVALID_OPTION'
		});
	}
	realtime.close();
	await expect(realtime.history(demoChannel)).rejects.toMatchObject({ code: 'CLOSED' });
});

test('while the backend is unavailable it rejects, and says so', async () => {
	const server = new FakeServer();
	const realtime = start({ backend: server.connect(), onFailure() {} });
	server.stop();
	await expect(realtime.history(demoChannel)).rejects.toMatchObject({ code: 'BACKEND' });
});
