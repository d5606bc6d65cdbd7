import { afterEach, beforeEach, expect, test } from 'vitest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { clientAt, Endpoint, ScriptedServer, story, until } from '../support/upstream.js';

let engine: InngestDev;
let endpoint: Endpoint;
beforeEach(async () => {
	engine = await startInngestDev();
});
afterEach(async () => {
	await endpoint.close();
	await engine.close();
});

const channels = Array.from({ length: 10 }, (_, index) => ({ channel: `user:${index}` }));

test('without multiplexing each channel has a socket of its own, supervised alike', async () => {
	endpoint = await Endpoint.start(clientAt(engine.url), { upstream: { multiplex: false } });
	const stream = await endpoint.open(...channels);
	for (const { channel } of channels) await stream.connected(channel);
	expect(engine.sockets).toBe(10);
	expect(endpoint.realtime.stats().upstream).toEqual({ state: 'open', sockets: 10 });
	engine.dropSockets();
	const count = (event: string): number => story(stream).filter((each) => each === event).length;
	await stream.when(() => count('connected') === 20, 'all channels to be back');
	expect(count('resync upstream-gap')).toBe(10);
	for (const { channel } of channels) {
		engine.publish({ channel, topic: 'message', data: { message: channel } });
	}
	await stream.when(() => stream.messages.length === 10, 'a message of each channel');
	expect(engine.sockets).toBe(10);
});

test('sockets of single channels go with the last reader of their channel', async () => {
	endpoint = await Endpoint.start(clientAt(engine.url), {
		upstream: { multiplex: false },
		lingerMs: 0
	});
	const [first, second] = await Promise.all([
		endpoint.open({ channel: 'user:1' }),
		endpoint.open({ channel: 'user:2' })
	]);
	await first.connected();
	await second.connected();
	first.close();
	await until(() => engine.sockets === 1, 'the end of one socket');
	second.close();
	await until(() => engine.sockets === 0, 'the end of the other');
	expect(endpoint.realtime.stats()).toMatchObject({ feeds: 0, upstream: { sockets: 0 } });
});

test('a server that knows no `sub` is served with one socket per channel', async () => {
	const server = await ScriptedServer.start();
	server.onFrame = () => false;
	endpoint = await Endpoint.start(clientAt(server.url), { upstream: { multiplex: false } });
	const stream = await endpoint.open({ channel: 'user:1' }, { channel: 'user:2' });
	await stream.connected('user:1');
	await stream.connected('user:2');
	server.publish('user:1', 'message', { message: 'one' });
	server.publish('user:2', 'message', { message: 'two' });
	await stream.when(() => stream.messages.length === 2, 'both messages');
	expect(server.sockets.flatMap(({ frames }) => frames)).toEqual([]);
	await endpoint.close();
	await server.close();
});

test('a token that cannot be read ends no subscription, and what comes then is ignored', async () => {
	const server = await ScriptedServer.start();
	server.readableTokens = false;
	endpoint = await Endpoint.start(clientAt(server.url), { lingerMs: 0 });
	const kept = await endpoint.open({ channel: 'demo' });
	await kept.connected();
	const left = await endpoint.open({ channel: 'user:1' });
	await left.connected();
	left.close();
	await until(() => endpoint.realtime.stats().feeds === 1, 'the end of the feed');
	server.publish('user:1', 'message', { message: 'to nobody' });
	server.publish('demo', 'message', { message: 'kept' });
	await kept.when(() => kept.messages.length === 1, 'a message');
	expect(endpoint.realtime.stats().messages).toBe(1);
	const again = await endpoint.open({ channel: 'user:1' });
	await again.connected();
	server.publish('user:1', 'message', { message: 'again' });
	await again.when(() => again.messages.length === 1, 'a message');
	expect(server.last.frames.map(({ kind }) => kind)).toEqual(['sub', 'sub']);
	await endpoint.close();
	await server.close();
});
