import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../../support/wait.js';
import { WorkersWorld } from '../../support/workers/world.js';

let world: WorkersWorld;
beforeAll(async () => {
	world = await WorkersWorld.start();
}, 60_000);
afterAll(() => world?.close());
afterEach(() => world?.closeReaders());

test('a message that is published once reaches the readers of two isolates through one socket', async () => {
	const [one, other] = [
		await world.open('a', { channel: 'demo' }),
		await world.open('b', { channel: 'demo' })
	];
	await one.connected();
	await other.connected();
	world.inngest.publish('demo', 'message', { message: 'both' });
	await one.when(() => one.texts.length === 1, 'the message');
	await other.when(() => other.texts.length === 1, 'the message');
	expect(one.lastId).toBe(other.lastId);
	expect(world.inngest.open.length).toBe(1);
});

test('a reader resumes through the other isolate', async () => {
	const first = await world.open('a', { channel: 'demo' });
	await first.connected();
	world.inngest.publish('demo', 'message', { message: 'one' });
	await first.when(() => first.texts.length === 1, 'the message');
	const { lastId } = first;
	first.close();
	world.inngest.publish('demo', 'message', { message: 'two' });
	const second = await world.open('b', { channel: 'demo', lastEventId: lastId });
	await second.connected();
	expect(second.texts).toEqual(['two']);
	expect(second.frames.map(({ event }) => event)).toEqual(['health', 'message', 'health']);
});
