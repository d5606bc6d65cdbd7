import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRealtime, type RealtimeServerFailureContext } from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { serve } from '../support/server.js';
import { openStream } from '../support/sse.js';
import { deferred, eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
		authorize: () => true
	}
};

test('close() ends streams without a last word, and lets go of everything', async () => {
	world = await startWorld({ channels, onFailure });
	const single = await world.open({ channel: 'demo' });
	await single.connected();
	const several = await world.open({ subscriptions: [{ channel: 'user:a' }, { channel: 'demo' }] });
	await several.connected('user:a');
	await several.connected('demo');
	await world.publish('demo', 'message', { message: 'last' });
	await several.when(() => several.texts.length === 1);
	world.realtime.close();
	world.realtime.close();
	expect(world.realtime.stats()).toMatchObject({
		streams: 0,
		hub: { feeds: 0, sources: { inngest: { sockets: 0 } }, replay: { events: 0, bytes: 0 } }
	});
	await single.end();
	await several.end();
	expect(single.texts).toEqual(['last']);
	expect(single.statuses).toEqual(['connecting', 'connected']);
	expect(several.statuses).not.toContain('degraded');
	await eventually(() => world.engine.sockets === 0);
	expect(failures).toEqual([]);
});

test('requests to a closed endpoint are answered with 503, and may try again', async () => {
	world = await startWorld({ channels, onFailure });
	world.realtime.close();
	const { status, headers, body } = await world.post({ channel: 'demo' });
	expect(status).toBe(503);
	expect(headers.get('retry-after')).toBe('1');
	expect(body).toEqual({ error: 'This realtime endpoint was closed.' });
	const get = await fetch(`${world.server.url}?channel=demo`);
	expect(get.status).toBe(503);
	expect(failures).toMatchObject([
		{ stage: 'stream', status: 503 },
		{ stage: 'stream', status: 503 }
	]);
});

test('a request that is authorized while the endpoint closes opens nothing', async () => {
	const answer = deferred<boolean>();
	let asked = 0;
	const authorize = (): Promise<boolean> => {
		asked++;
		return answer.promise;
	};
	world = await startWorld({ channels: { demo: { channel: demoChannel, authorize } }, onFailure });
	const single = world.post({ channel: 'demo' });
	const several = await world.open({ subscriptions: [{ channel: 'demo' }] });
	await eventually(() => asked === 2);
	world.realtime.close();
	await several.end();
	expect(several.frames).toEqual([]);
	answer.resolve(true);
	expect((await single).status).toBe(503);
	expect(world.realtime.stats()).toMatchObject({
		streams: 0,
		hub: { feeds: 0, sources: { inngest: { sockets: 0 } } }
	});
	expect(world.engine.sockets).toBe(0);
});

test('a stream whose response is read only after close() opens nothing either', async () => {
	const through = deferred();
	let answered = 0;
	world = await startWorld(
		{ channels, onFailure },
		{
			around: async (_event, next) => {
				const response = await next();
				answered++;
				await through.promise;
				return response;
			}
		}
	);
	const opening = world.open({ channel: 'demo' });
	await eventually(() => answered === 1);
	world.realtime.close();
	through.resolve();
	const stream = await opening;
	await stream.end();
	expect(stream.health()).toMatchObject([
		{ status: 'degraded', stage: 'stream', code: 503, fatal: false }
	]);
	expect(world.engine.sockets).toBe(0);
});

test('endpoints of one Inngest client share its socket until the last of them is closed', async () => {
	world = await startWorld({ channels, onFailure });
	const other = createRealtime({ inngest: world.inngest, channels });
	const server = await serve(other);
	try {
		const here = await world.open({ channel: 'demo' });
		const there = await openStream(server.url, { channel: 'demo' });
		await here.connected();
		await there.connected();
		expect(world.engine.sockets).toBe(1);
		expect(world.engine.subscriptions).toBe(2);
		world.realtime.close();
		await here.end();
		await world.publish('demo', 'message', { message: 'still here' });
		await there.when(() => there.texts.length === 1);
		expect(there.statuses).toEqual(['connecting', 'connected']);
		other.close();
		await there.end();
		await eventually(() => world.engine.sockets === 0);
	} finally {
		other.close();
		await server.close();
	}
});

test('onFailure of a closed endpoint hears nothing of one that goes on', async () => {
	world = await startWorld({ channels, onFailure });
	const heard: RealtimeServerFailureContext[] = [];
	const other = createRealtime({
		inngest: world.inngest,
		channels,
		onFailure: (failure) => void heard.push(failure)
	});
	const server = await serve(other);
	try {
		const here = await world.open({ channel: 'demo' });
		const there = await openStream(server.url, { channel: 'demo' });
		await here.connected();
		await there.connected();
		await world.publish('demo', 'message', { message: 1 });
		await eventually(() => heard.length === 1);
		expect(failures).toHaveLength(1);
		world.realtime.close();
		await world.publish('demo', 'message', { message: 2 });
		await eventually(() => heard.length === 2);
		expect(failures).toHaveLength(1);
		there.close();
	} finally {
		other.close();
		await server.close();
	}
});

test('a client whose endpoint was closed may have another, which begins anew', async () => {
	world = await startWorld({ channels, onFailure });
	const before = await world.open({ channel: 'demo' });
	await before.connected();
	world.realtime.close();
	await before.end();
	const next = createRealtime({ inngest: world.inngest, channels });
	const server = await serve(next);
	try {
		const lastEventId = before.lastId;
		const stream = await openStream(server.url, { channel: 'demo', lastEventId });
		await stream.connected();
		expect(stream.frames[1]).toMatchObject({ event: 'resync', data: { reason: 'idle' } });
		expect(world.engine.sockets).toBe(1);
		stream.close();
	} finally {
		next.close();
		await server.close();
	}
});
