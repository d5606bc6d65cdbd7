import { afterEach, expect, test, vi } from 'vitest';
import { startInngestDev } from '../../src/lib/dev/index.js';
import { createRealtime } from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { OwnTimers, story } from '../support/upstream.js';
import { eventually } from '../support/wait.js';
import { inngestAt, startWorld, type World } from '../support/world.js';

let world: World | undefined;
afterEach(async () => {
	vi.unstubAllEnvs();
	await world?.close();
	world = undefined;
});

const channels = {
	demo: { channel: demoChannel, authorize: () => true, warm: true },
	user: { channel: userChannel, channelParams: 'alice', authorize: () => true, warm: true }
};

const feeds = (): number => world!.realtime.stats().hub.feeds;

function say(channel: string, message: string): void {
	world!.engine.publish({ channel, topic: 'message', data: { message } });
}

/** Waits until both channels are live. */
async function warmed(): Promise<void> {
	await world!.realtime.cursor(demoChannel);
	await world!.realtime.cursor(userChannel, { channelParams: 'alice' });
}

test('a warm channel has history before its first reader', async () => {
	world = await startWorld({ channels });
	await warmed();
	for (const message of ['1', '2', '3']) {
		say('demo', message);
		say('user:alice', message);
	}
	await eventually(() => world!.realtime.stats().hub.messages === 6);
	for (const channel of ['demo', 'user:alice']) {
		const stream = await world.open({ channel, history: 2 });
		await stream.connected();
		expect(story(stream)).toEqual(['connecting', '2', '3', 'connected']);
	}
	expect(feeds()).toBe(2);
	expect(world.engine.sockets).toBe(1);
});

test('it stays after its last reader, also where nothing lingers', async () => {
	world = await startWorld({ channels, lingerMs: 0 });
	await warmed();
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	stream.close();
	await eventually(() => world!.realtime.stats().streams === 0);
	say('demo', 'meanwhile');
	await eventually(() => world!.realtime.stats().hub.replay.events === 1);
	const again = await world.open({ channel: 'demo', lastEventId: stream.lastId });
	await again.connected();
	expect(again.texts).toEqual(['meanwhile']);
});

test('it is there again when Inngest comes back, also where Inngest was away at first', async () => {
	const engine = await startInngestDev();
	const { port, url } = engine;
	await engine.close();
	const realtime = createRealtime({ inngest: inngestAt(url), channels });
	const later = await startInngestDev({ port });
	try {
		await eventually(() => later.subscriptions === 3);
		expect(realtime.stats().hub.feeds).toBe(2);
	} finally {
		realtime.close();
		await later.close();
	}
});

test('close() lets it go, with its timers and its socket', async () => {
	const timers = new OwnTimers();
	try {
		world = await startWorld({ channels });
		await warmed();
		world.realtime.close();
		expect(feeds()).toBe(0);
		await eventually(() => world!.engine.sockets === 0);
		await eventually(() => timers.size === 0);
	} finally {
		timers.restore();
	}
});

test('an endpoint that is closed leaves the warm channels of another', async () => {
	world = await startWorld({ channels: { demo: channels.demo } });
	const other = createRealtime({ inngest: world.inngest, channels: { user: channels.user } });
	await other.cursor(userChannel, { channelParams: 'alice' });
	expect(feeds()).toBe(2);
	world.realtime.close();
	expect(other.stats().hub.sources.inngest!.sockets).toBe(1);
	say('user:alice', 'still here');
	await eventually(() => other.stats().hub.messages === 1);
	other.close();
	await eventually(() => world!.engine.sockets === 0);
});

test('when the process is asked to stop it is let go', async () => {
	world = await startWorld({ channels });
	await warmed();
	// Somebody else who listens, and would exit.
	const listener = (): void => {};
	process.on('SIGTERM', listener);
	try {
		process.emit('SIGTERM', 'SIGTERM');
	} finally {
		process.off('SIGTERM', listener);
	}
	expect(feeds()).toBe(0);
	await eventually(() => world!.engine.sockets === 0);
});

test('where sockets belong to requests it has no effect', async () => {
	world = await startWorld({ channels, scope: 'request' });
	expect(feeds()).toBe(0);
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(world.engine.sockets).toBe(0);
});

test('while SvelteKit analyses a build nothing is connected', async () => {
	const engine = await startInngestDev();
	// What SvelteKit sets in the worker that imports a build to analyse and prerender it.
	vi.stubEnv('SVELTEKIT_FORK', 'true');
	vi.resetModules();
	const { createRealtime } = await import('../../src/lib/server/index.js');
	const timers = new OwnTimers();
	const realtime = createRealtime({ inngest: inngestAt(engine.url), channels });
	try {
		expect(realtime.stats().hub).toMatchObject({ feeds: 0, sources: { inngest: { sockets: 0 } } });
		expect(timers.size).toBe(0);
		await new Promise((resolve) => setTimeout(resolve, 50));
		expect(engine.sockets).toBe(0);
	} finally {
		timers.restore();
		realtime.close();
		await engine.close();
	}
});
