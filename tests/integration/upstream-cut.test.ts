import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { clientAt, Endpoint, ScriptedServer, story, until } from '../support/upstream.js';

let engine: InngestDev;
let endpoint: Endpoint;
beforeEach(async () => {
	// No delay before another attempt.
	vi.spyOn(Math, 'random').mockReturnValue(0);
	engine = await startInngestDev();
	endpoint = await Endpoint.start(clientAt(engine.url));
});
afterEach(async () => {
	vi.restoreAllMocks();
	await endpoint.close();
	await engine.close();
});

const publish = (message: string): void =>
	engine.publish({ channel: 'demo', topic: 'message', data: { message } });

test('a cut upstream is told, bridged and marked; the stream stays open', async () => {
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	publish('1');
	await stream.when(() => stream.messages.length === 1, 'a message');
	const before = stream.lastId!;
	engine.dropSockets();
	// Nobody can hear this one.
	publish('lost');
	await stream.when(() => story(stream).length === 6, 'the upstream to be back');
	publish('2');
	await stream.when(() => stream.messages.length === 2, 'another message');
	expect(story(stream)).toEqual([
		'connecting',
		'connected',
		'1',
		'connecting',
		'resync upstream-gap',
		'connected',
		'2'
	]);
	expect(stream.frames[3]?.data).toMatchObject({
		ok: false,
		channel: 'demo',
		detail: 'The connection to Inngest was lost; it is being restored.'
	});
	expect(endpoint.failures).toEqual([
		expect.objectContaining({ stage: 'stream', status: 503, channelId: 'demo' })
	]);
	// A reader that was away as it happened is told too, and only one that was before the gap.
	const late = await endpoint.open({ channel: 'demo', lastEventId: before });
	await late.connected();
	expect(story(late)).toEqual(['connecting', 'resync upstream-gap', '2', 'connected']);
	const after = await endpoint.open({ channel: 'demo', lastEventId: stream.frames[5]!.id! });
	await after.connected();
	expect(story(after)).toEqual(['connecting', '2', 'connected']);
});

test('`onFailure` may put its own text into what readers are told of a cut', async () => {
	await endpoint.close();
	endpoint = await Endpoint.start(clientAt(engine.url), {
		onFailure: () => ({ message: 'hold the line' })
	});
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	engine.dropSockets();
	await stream.when(() => story(stream).length === 5, 'the upstream to be back');
	expect(stream.frames[2]?.data).toMatchObject({ ok: false, detail: 'hold the line' });
});

test('a channel that nobody reads just then is marked too, while it is kept warm', async () => {
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	publish('1');
	await stream.when(() => stream.messages.length === 1, 'a message');
	stream.close();
	await until(() => endpoint.realtime.stats().streams === 0, 'the end of the stream');
	vi.mocked(Math.random).mockReturnValue(0.5);
	engine.dropSockets();
	await until(() => endpoint.realtime.stats().hub.sources.inngest!.sockets === 0, 'the loss');
	await until(() => engine.subscriptions === 2, 'the upstream to be back');
	const again = await endpoint.open({ channel: 'demo', lastEventId: stream.lastId! });
	await again.connected();
	expect(story(again).filter((event) => event !== 'connecting')).toEqual([
		'resync upstream-gap',
		'connected'
	]);
});

test('a cut while many messages flow loses none that came before it and repeats none', async () => {
	const streams = await Promise.all(
		Array.from({ length: 3 }, () => endpoint.open({ channel: 'demo' }))
	);
	await Promise.all(streams.map((stream) => stream.connected()));
	let sent = 0;
	const marks: number[] = [];
	while (sent < 600) {
		for (let count = 0; count < 10; count++) publish(String(sent++));
		await new Promise(setImmediate);
		if (sent % 200 !== 0) continue;
		// Everything that was sent has arrived, then the cut.
		const expected = sent - 1;
		const [stream] = streams;
		await stream!.when(() => story(stream!).includes(String(expected)), 'the messages');
		marks.push(sent);
		engine.dropSockets();
		await stream!.when(
			() => story(stream!).filter((event) => event === 'connected').length === marks.length + 1,
			'the upstream to be back'
		);
	}
	for (const stream of streams) {
		await stream.when(
			() => story(stream).filter((event) => event === 'connected').length === 4,
			'the upstream to be back'
		);
		const texts = story(stream).filter((event) => /^\d/.test(event));
		expect(texts).toEqual(Array.from({ length: 600 }, (_, index) => String(index)));
		expect(story(stream).filter((event) => event.startsWith('resync'))).toHaveLength(3);
	}
});

test('an engine that is restarted on its port is found again, by all channels over one socket', async () => {
	const stream = await endpoint.open({ channel: 'demo' }, { channel: 'user:1' });
	await stream.connected('demo');
	await stream.connected('user:1');
	const { port } = engine;
	await engine.close();
	await until(
		() => endpoint.causes.some((cause) => cause.includes('ECONNREFUSED')),
		'a refused connection'
	);
	engine = await startInngestDev({ port });
	const count = (event: string): number => story(stream).filter((each) => each === event).length;
	await stream.when(() => count('connected') === 4, 'both channels to be back');
	expect(count('resync upstream-gap')).toBe(2);
	publish('back');
	await stream.when(() => stream.messages.length === 1, 'a message');
	expect(engine.sockets).toBe(1);
});

test('a new reader that comes while the upstream is away waits, and is told of its failure', async () => {
	const server = await ScriptedServer.start();
	const scripted = await Endpoint.start(clientAt(server.url));
	const warm = await scripted.open({ channel: 'demo' });
	await warm.connected();
	server.onToken = () => 500;
	server.last.drop();
	await warm.when(() => warm.statuses.length === 3, 'the loss');
	// On a channel that was never live it is told to come back; on a warm one it waits.
	const late = await scripted.open({ channel: 'demo' });
	await late.when(() => late.statuses.length === 2, 'the state of the channel');
	expect(late.frames[1]?.data).toMatchObject({ ok: false, status: 'connecting' });
	const fresh = await scripted.open({ channel: 'user:1' });
	await fresh.end();
	expect(story(fresh)).toEqual(['connecting', 'degraded']);
	server.onToken = () => 201;
	await late.when(() => late.statuses.includes('connected'), 'the upstream to be back');
	await scripted.close();
	await server.close();
});
