import { afterEach, expect, test } from 'vitest';
import { demoChannel } from '../support/channels.js';
import type { SseReader } from '../support/sse.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const channels = { demo: { channel: demoChannel, authorize: () => true } };

/** A stream that has received three messages; what it began with is its first id. */
async function three(): Promise<SseReader> {
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	for (const message of ['1', '2', '3']) await world.publish('demo', 'message', { message });
	await world.publish('demo', 'admin-message', { message: 'admin' });
	await stream.when(() => stream.texts.length === 4);
	return stream;
}

/** Opens a stream with fields of a subscription: alone, as one of several, and by GET. */
const ways: [string, (fields: Record<string, string | number>) => Promise<SseReader>][] = [
	['POST', (fields) => world.open({ channel: 'demo', topics: ['message'], ...fields })],
	[
		'POST of several',
		(fields) => world.open({ subscriptions: [{ channel: 'demo', topics: ['message'], ...fields }] })
	],
	[
		'GET',
		(fields) => {
			const query = Object.entries(fields).map(([name, value]) => `&${name}=${value}`);
			return world.openGet(`channel=demo&topic=message${query.join('')}`);
		}
	]
];

test.each(ways)('%s starts at `since`, unless it resumes', async (_, open) => {
	world = await startWorld({ channels });
	const first = await three();
	const ids = first.frames.filter(({ event }) => event === 'message').map(({ id }) => id!);
	const since = await open({ since: ids[0]! });
	await since.connected();
	expect(since.texts).toEqual(['2', '3']);
	expect(since.messages.every((message) => !('history' in message))).toBe(true);
	const resumed = await open({ since: ids[0]!, lastEventId: ids[1]! });
	await resumed.connected();
	expect(resumed.texts).toEqual(['3']);
	const unknown = await open({ since: 'unknown-0' });
	await unknown.connected();
	expect(unknown.frames.some(({ event }) => event === 'resync')).toBe(true);
});

test.each(ways)(
	'%s begins with as much `history` as it asks for, and marks it',
	async (_, open) => {
		world = await startWorld({ channels });
		const before = (await three()).lastId!;
		const history = await open({ history: 2 });
		await history.connected();
		await world.publish('demo', 'message', { message: '4' });
		await history.when(() => history.texts.length === 3);
		expect(history.messages.map(({ data, history }) => [data, history])).toEqual([
			[{ message: '2' }, true],
			[{ message: '3' }, true],
			[{ message: '4' }, undefined]
		]);
		const resumed = await open({ history: 2, lastEventId: before });
		await resumed.connected();
		expect(resumed.texts).toEqual(['4']);
	}
);

test.each(ways)('%s gets no more `history` than maxHistory', async (_, open) => {
	world = await startWorld({ channels, limits: { maxHistory: 1 } });
	await three();
	const stream = await open({ history: 100 });
	await stream.connected();
	expect(stream.texts).toEqual(['3']);
});

test.each(ways)('%s with `since` and `history` is refused with 400', async (_, open) => {
	world = await startWorld({ channels });
	await expect(open({ since: 'x-1', history: 1 })).rejects.toThrow(
		/400 .*A subscription starts either at `since` or with `history`; \\"demo\\" has both/
	);
});

test.each([0, -1, 1.5, 1e300, 'many', ''])(
	'`history` of %j is refused with 400',
	async (history) => {
		world = await startWorld({ channels });
		for (const [, open] of ways) {
			await expect(open({ history })).rejects.toThrow(
				/400 .*history must be a positive whole number/
			);
		}
	}
);
