import { error } from '@sveltejs/kit';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
	RealtimeDenied,
	type RealtimeIdentify,
	type RealtimeServerFailureContext
} from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

async function startWith(identify: unknown): Promise<void> {
	world = await startWorld(
		{
			channels: { demo: { channel: demoChannel, authorize: () => true } },
			onFailure,
			identify: identify as RealtimeIdentify,
			limits: { maxStreamsPerKey: 1 }
		},
		{ locals: (request) => ({ user: request.headers.get('x-user') }) }
	);
}

const as = (user: string): Record<string, string> => ({ 'x-user': user });

test.each([
	['an id', ({ locals }: { locals: { user: string } }) => locals.user],
	['a promise of an id', async ({ locals }: { locals: { user: string } }) => locals.user],
	[
		'an object with an id',
		({ locals }: { locals: { user: string } }) => ({ id: locals.user, name: 'Somebody' })
	]
])('identify that gives %s names readers by it, once per request', async (_, identify) => {
	const asked = vi.fn(identify);
	await startWith(asked);
	const alice = await world.open({ channel: 'demo' }, as('alice'));
	await alice.connected();
	const bob = await world.open({ subscriptions: [{ channel: 'demo' }] }, as('bob'));
	await bob.connected();
	expect(asked).toHaveBeenCalledTimes(2);
	expect((await world.post({ channel: 'demo' }, as('alice'))).status).toBe(429);
});

test('anonymous readers are counted by their address, and never mixed with users', async () => {
	await startWith(({ locals }: { locals: { user: string | null } }) => locals.user);
	const visitor = await world.open({ channel: 'demo' });
	await visitor.connected();
	expect((await world.post({ channel: 'demo' })).status).toBe(429);
	// A user whose id looks like the address.
	await (await world.open({ channel: 'demo' }, as('127.0.0.1'))).connected();
});

test.each([
	['nothing', undefined],
	['an empty text', ''],
	['a number', 5],
	['an object without an id', { name: 'x' }],
	['an object whose id is empty', { id: '' }],
	['an object whose id is a number', { id: 5 }]
])('identify that gives %s is a fault that is reported', async (_, answer) => {
	await startWith(() => answer);
	expect(await world.post({ channel: 'demo' })).toMatchObject({
		status: 500,
		body: { error: 'This reader could not be identified.' }
	});
	expect(failures).toMatchObject([
		{
			stage: 'admission',
			callback: 'identify',
			error: { message: expect.stringContaining('identify must return') as string }
		}
	]);
});

test.each([
	['RealtimeDenied', () => new RealtimeDenied('No robots'), 403, 'No robots'],
	['an error of a driver', () => new Error('secret'), 500, 'This reader could not be identified.']
])('identify that throws %s refuses the request', async (_, thrown, status, text) => {
	await startWith(() => {
		throw thrown();
	});
	const answer = await world.post({ channel: 'demo' });
	expect(answer).toMatchObject({ status, body: { error: text } });
	expect(failures).toMatchObject([{ stage: 'admission', status, callback: 'identify' }]);
});

test('the status of SvelteKit’s error() thrown by identify is the answer’s', async () => {
	await startWith(() => error(401, 'Sign in first'));
	expect(await world.post({ channel: 'demo' })).toMatchObject({
		status: 401,
		body: { error: 'Sign in first' }
	});
});
