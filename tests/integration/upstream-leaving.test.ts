import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import { inngestSource } from '../../src/lib/server/inngest/inngestSource.js';
import {
	clientAt,
	Endpoint,
	OwnTimers,
	Recorder,
	ScriptedServer,
	sourceAt,
	until
} from '../support/upstream.js';

let server: ScriptedServer;
let upstream: RealtimeSource;
let timers: OwnTimers;
beforeEach(async () => {
	server = await ScriptedServer.start();
	upstream = sourceAt(server.url);
	timers = new OwnTimers();
});
afterEach(async () => {
	upstream.close();
	timers.restore();
	await server.close();
});

/** The upstream has let go of everything. */
async function expectNothingLeft(): Promise<void> {
	await until(() => server.connections === 0, 'the end of all sockets');
	expect(upstream.state).toBe('idle');
	expect(upstream.sockets).toBe(0);
	expect(timers.size).toBe(0);
}

/** Stages of connecting, the timers that run in each, and how it is reached. */
const stages: [stage: string, running: number, reach: () => Promise<unknown>][] = [
	['before anything was sent', 0, async () => {}],
	[
		'while the token is awaited',
		1,
		() => {
			server.onToken = () => new Promise(() => {});
			return until(() => server.tokens.length === 1, 'a token request');
		}
	],
	[
		'while the socket connects',
		0,
		() => {
			let asked = false;
			server.onUpgrade = () => {
				asked = true;
				return false;
			};
			return until(() => asked, 'an upgrade');
		}
	],
	[
		'before the pong',
		2,
		() => {
			server.answersPings = false;
			return until(() => server.last?.heldPings.length === 1, 'a ping');
		}
	],
	['when live', 1, () => until(() => upstream.state === 'open', 'a live socket')]
];

for (const [stage, running, reach] of stages) {
	for (const end of ['leaves', 'closes the upstream'] as const) {
		test(`a lone listener that ${end} ${stage} leaves no socket and no timer`, async () => {
			const listener = new Recorder('a');
			const stop = upstream.listen(listener);
			await reach();
			const events = [...listener.events];
			expect(timers.size).toBe(running);
			if (end === 'leaves') stop();
			else upstream.close();
			await until(() => timers.size === 0, 'the end of all timers');
			await until(() => server.connections === 0, 'the end of all sockets');
			const state = end === 'leaves' ? 'idle' : 'closed';
			await until(() => upstream.state === state, `the upstream to be ${state}`);
			expect(upstream.sockets).toBe(0);
			expect(listener.events).toEqual(events);
		});
	}
}

for (const [stage, , reach] of stages) {
	test(`a client that leaves ${stage} leaves nothing of its feed`, async () => {
		const endpoint = await Endpoint.start(clientAt(server.url), { lingerMs: 0 });
		const stream = await endpoint.open({ channel: 'demo' });
		if (stage === 'when live') await stream.connected();
		else await reach();
		stream.close();
		await until(() => endpoint.realtime.stats().hub.feeds === 0, 'the end of the feed');
		await until(() => server.connections === 0, 'the end of all sockets');
		await until(() => timers.size === 0, 'the end of all timers');
		expect(endpoint.realtime.stats()).toMatchObject({
			streams: 0,
			hub: { sources: { inngest: { sockets: 0 } } }
		});
		expect(endpoint.failures).toEqual([]);
		await endpoint.close();
	});
}

test('a client that leaves while the upstream connects takes nothing from another', async () => {
	const endpoint = await Endpoint.start(clientAt(server.url));
	server.answersPings = false;
	const leaving = await endpoint.open({ channel: 'demo' });
	const staying = await endpoint.open({ channel: 'demo' });
	await until(() => server.last?.heldPings.length === 1, 'a ping');
	leaving.close();
	await until(() => endpoint.realtime.stats().streams === 1, 'the end of the stream');
	server.answersPings = true;
	server.answerPings();
	await staying.connected();
	expect(server.tokens).toHaveLength(1);
	await endpoint.close();
});

test('a listener that leaves before the socket is made prevents it', async () => {
	let answer!: () => void;
	const asked = new Promise<void>((resolve) => (answer = resolve));
	let isAsked = false;
	const client = clientAt(server.url, {
		async getTargetUrl(path: string) {
			if (path.endsWith('/connect')) {
				isAsked = true;
				await asked;
			}
			return new URL(path, server.url);
		}
	});
	const held = inngestSource(client);
	const stop = held.listen(new Recorder('a'));
	await until(() => isAsked, 'the question for the URL');
	stop();
	await new Promise(setImmediate);
	answer();
	await until(() => held.state === 'idle', 'an idle upstream');
	expect(server.sockets).toEqual([]);
	expect(timers.size).toBe(0);
});

test('the last listener that leaves while a topic is being added ends the socket at once', async () => {
	const stopFirst = upstream.listen(new Recorder('a'));
	await until(() => upstream.state === 'open', 'a live socket');
	server.onToken = () => new Promise(() => {});
	const stopSecond = upstream.listen(new Recorder('b'));
	await until(() => server.tokens.length === 2, 'a token request');
	stopFirst();
	stopSecond();
	await expectNothingLeft();
});

test('a listener that comes as the last one leaves keeps the socket', async () => {
	const first = new Recorder('a');
	const stop = upstream.listen(first);
	await first.whenLive();
	stop();
	const second = new Recorder('a');
	upstream.listen(second);
	await second.whenLive();
	expect(server.sockets).toHaveLength(1);
	expect(server.last.frames).toEqual([]);
});

test('a listener that comes right after the last one left while connecting is served', async () => {
	server.answersPings = false;
	const stop = upstream.listen(new Recorder('a'));
	await until(() => server.last?.heldPings.length === 1, 'a ping');
	stop();
	await until(() => upstream.state === 'idle' && server.open.length === 0, 'the end');
	server.answersPings = true;
	const second = new Recorder('b');
	upstream.listen(second);
	await second.whenLive();
	expect([...server.last.topics]).toEqual(['b/t']);
});

test('a listener that leaves during a change of sockets ends both', async () => {
	const listener = new Recorder('a');
	const stop = upstream.listen(listener);
	await listener.whenLive();
	const old = server.last;
	old.send({ kind: 'datastream-start', channel: 'a', topic: 't', data: 's' });
	server.answersPings = false;
	old.closing();
	await until(() => server.last !== old && server.last.heldPings.length === 1, 'the next socket');
	stop();
	await expectNothingLeft();
});

test('listeners that come and go a hundred times leave nothing', async () => {
	for (let round = 0; round < 100; round++) {
		const listener = new Recorder('a');
		const stop = upstream.listen(listener);
		if (round % 4 === 0) await listener.whenLive();
		else if (round % 4 === 1) await new Promise(setImmediate);
		stop();
		if (round % 2 === 0) await new Promise(setImmediate);
	}
	await expectNothingLeft();
});
