import type { RequestEvent } from '@sveltejs/kit';
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, expect, test } from 'vitest';
import { demoChannel, userChannel } from '../support/channels.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const als = new AsyncLocalStorage<{ user: string }>();
const whoAmI = (): string => als.getStore()?.user ?? 'nobody';

/** What `getRequestEvent()` rests on: each request runs in a store of its own. */
const around = (event: RequestEvent, next: () => Promise<Response>): Promise<Response> =>
	als.run({ user: event.request.headers.get('x-user') ?? 'nobody' }, next);

/** Which user's check ran as whom. */
type Check = { of: string; as: string };

const as = (user: string): Record<string, string> => ({ 'x-user': user });
const body = (user: string): object => ({ channel: 'demo', params: { user } });

test.each([
	['synchronous', (check: () => boolean) => check()],
	['asynchronous', (check: () => boolean) => Promise.resolve().then(check)]
])('a %s reauthorize reads the store of its own request', async (_, answer) => {
	const checks: Check[] = [];
	world = await startWorld(
		{
			channels: {
				demo: {
					channel: demoChannel,
					authorize: () => true,
					reauthorize: ({ params }) =>
						answer(() => checks.push({ of: String(params.user), as: whoAmI() }) > 0)
				}
			},
			reauthorizeOnEachMessage: true
		},
		{ around }
	);
	const alice = await world.open(body('alice'), as('alice'));
	await alice.connected();
	const bob = await world.open(body('bob'), as('bob'));
	await bob.connected();
	for (const message of ['1', '2']) await world.publish('demo', 'message', { message });
	await alice.when(() => alice.texts.length === 2);
	await bob.when(() => bob.texts.length === 2);
	expect(checks).toHaveLength(4);
	for (const check of checks) expect(check.as).toBe(check.of);
});

test('a replayed message is checked in the store of the request that resumes', async () => {
	const checks: Check[] = [];
	world = await startWorld(
		{
			channels: {
				demo: {
					channel: demoChannel,
					authorize: () => true,
					reauthorize: ({ params }) => checks.push({ of: String(params.user), as: whoAmI() }) > 0
				}
			},
			reauthorizeOnEachMessage: true
		},
		{ around }
	);
	const alice = await world.open(body('alice'), as('alice'));
	await alice.connected();
	const lastEventId = alice.lastId!;
	await world.publish('demo', 'message', { message: '1' });
	await alice.when(() => alice.texts.length === 1);
	const bob = await world.open({ ...body('bob'), lastEventId }, as('bob'));
	await bob.when(() => bob.texts.length === 1);
	expect(checks).toEqual([
		{ of: 'alice', as: 'alice' },
		{ of: 'bob', as: 'bob' }
	]);
});

test('a check on the timer reads the store of its own request', async () => {
	const checks: Check[] = [];
	world = await startWorld(
		{
			channels: {
				demo: {
					channel: demoChannel,
					authorize: ({ params }) => checks.push({ of: String(params.user), as: whoAmI() }) > 0
				}
			},
			recheckIntervalMs: 50
		},
		{ around }
	);
	const alice = await world.open(body('alice'), as('alice'));
	await alice.connected();
	const bob = await world.open(body('bob'), as('bob'));
	await bob.connected();
	const count = (user: string): number => checks.filter(({ of }) => of === user).length;
	await eventually(() => count('alice') >= 3 && count('bob') >= 3);
	for (const check of checks) expect(check.as).toBe(check.of);
});

test('resolvers and authorize of a `subscriptions` request run in its store', async () => {
	const checks: Check[] = [];
	world = await startWorld(
		{
			channels: {
				user: {
					channel: userChannel,
					channelParams: async (_event, id, params) => {
						await Promise.resolve();
						checks.push({ of: String(params.user), as: whoAmI() });
						return id.slice('user:'.length);
					},
					authorize: ({ params }) => checks.push({ of: String(params.user), as: whoAmI() }) > 0
				}
			}
		},
		{ around }
	);
	const open = (user: string) =>
		world.open(
			{
				subscriptions: ['x', 'y', 'z'].map((id) => ({ channel: `user:${id}`, params: { user } }))
			},
			as(user)
		);
	const [alice, bob] = await Promise.all([open('alice'), open('bob')]);
	for (const id of ['x', 'y', 'z']) {
		await alice.connected(`user:${id}`);
		await bob.connected(`user:${id}`);
	}
	expect(checks).toHaveLength(12);
	for (const check of checks) expect(check.as).toBe(check.of);
});

test('onFailure runs as the request whose check failed, and as nobody for failures of all', async () => {
	const failures: { stage: string; as: string; event: string | undefined }[] = [];
	world = await startWorld(
		{
			channels: {
				demo: {
					channel: demoChannel,
					authorize: () => true,
					reauthorize: ({ params, message }) =>
						params.user !== 'alice' || message.data.message !== 'secret'
				}
			},
			reauthorizeOnEachMessage: true,
			onFailure: ({ stage, event }) =>
				void failures.push({
					stage,
					as: whoAmI(),
					event: event?.request.headers.get('x-user') ?? undefined
				})
		},
		{ around }
	);
	// The feed is started by alice, and must not go on in her name.
	const alice = await world.open(body('alice'), as('alice'));
	await alice.connected();
	const bob = await world.open(body('bob'), as('bob'));
	await bob.connected();
	await world.publish('demo', 'message', { message: 5 });
	await eventually(() => failures.length === 1);
	world.engine.dropSockets();
	await eventually(() => failures.length === 2);
	await eventually(() => world.realtime.stats().hub.sources.inngest!.state === 'open');
	await bob.when(() => bob.statuses.filter((status) => status === 'connected').length === 2);
	await world.publish('demo', 'message', { message: 'secret' });
	await alice.end();
	await bob.when(() => bob.texts.length === 1);
	expect(failures).toEqual([
		{ stage: 'stream', as: 'nobody', event: undefined },
		{ stage: 'stream', as: 'nobody', event: undefined },
		{ stage: 'reauthorization', as: 'alice', event: 'alice' }
	]);
});
