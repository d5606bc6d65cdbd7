import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import {
	createRealtime,
	type BusListener,
	type Realtime,
	type RealtimeBackend,
	type RealtimeServerFailureContext,
	type ReplayEvent,
	type ReplayStore
} from '../../src/lib/server/index.js';
import { createTestRealtime } from '../../src/lib/testing/createTestRealtime.js';
import { FakeServer } from '../support/backend.js';
import { demoChannel } from '../support/channels.js';
import { sum } from '../support/metrics.js';
import { serve, type TestServer } from '../support/server.js';
import { openStream, type SseReader } from '../support/sse.js';
import { deferred, eventually } from '../support/wait.js';
import { inngestAt } from '../support/world.js';

interface Instance {
	realtime: Realtime;
	server: TestServer;
	failures: RealtimeServerFailureContext[];
	open(lastEventId?: string): Promise<SseReader>;
	close(): Promise<void>;
}

let engine: InngestDev;
let server: FakeServer;
const instances: Instance[] = [];

async function startInstance({
	engineUrl = engine.url,
	backend = server.connect()
}: { engineUrl?: string; backend?: RealtimeBackend } = {}): Promise<Instance> {
	const failures: RealtimeServerFailureContext[] = [];
	const realtime = createRealtime({
		inngest: inngestAt(engineUrl),
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		backend,
		onFailure: (failure) => void failures.push(failure)
	});
	const http = await serve(realtime);
	const readers: SseReader[] = [];
	const instance: Instance = {
		realtime,
		server: http,
		failures,
		async open(lastEventId) {
			const reader = await openStream(http.url, { channel: 'demo', lastEventId });
			readers.push(reader);
			await reader.connected();
			return reader;
		},
		async close() {
			for (const reader of readers) reader.close();
			realtime.close();
			await http.close();
		}
	};
	instances.push(instance);
	return instance;
}

beforeEach(async () => {
	engine = await startInngestDev();
	server = new FakeServer();
});
afterEach(async () => {
	await Promise.all(instances.splice(0).map((instance) => instance.close()));
	await engine.close();
});

const say = (message: string): void =>
	engine.publish({ channel: 'demo', topic: 'message', data: { message } });

const reasons = (reader: SseReader): string[] =>
	reader.frames.flatMap(({ event, data }) => (event === 'resync' ? [data.reason] : []));

const ids = (reader: SseReader): (string | undefined)[] =>
	reader.frames.flatMap(({ event, id }) => (event === 'message' ? [id] : []));

test('processes with one backend send one order with the same cursors', async () => {
	const [one, other] = [await startInstance(), await startInstance()];
	const [first, second] = [await one.open(), await other.open()];
	for (let n = 1; n <= 50; n++) say(String(n));
	await first.when(() => first.texts.length === 50);
	await second.when(() => second.texts.length === 50);
	expect(first.texts).toEqual(Array.from({ length: 50 }, (_, index) => String(index + 1)));
	expect(ids(second)).toEqual(ids(first));
	expect([...reasons(first), ...reasons(second)]).toEqual([]);
	expect(one.realtime.stats().hub.backend).toEqual({
		name: 'fake',
		state: 'closed',
		parts: ['replay', 'bus', 'rateLimit', 'idempotency']
	});
});

test('a process that starts beside a live one leaves no gap, and is resumed at without a resync', async () => {
	const one = await startInstance();
	const first = await one.open();
	say('1');
	await first.when(() => first.texts.length === 1);
	first.close();
	const other = await startInstance();
	const second = await other.open(ids(first)[0]);
	say('2');
	await second.when(() => second.texts.length === 1);
	expect(reasons(second)).toEqual([]);
});

test('a process whose messages are not in the log yet does not claim that the log is complete', async () => {
	const backend = server.connect(5_000);
	const { append } = backend.replay!;
	const isHeld = { now: false };
	backend.replay!.append = (log, events) =>
		isHeld.now ? new Promise(() => {}) : append.call(backend.replay, log, events);
	const one = await startInstance({ backend });
	const first = await one.open();
	say('1');
	await first.when(() => first.texts.length === 1);
	isHeld.now = true;
	say('lost with its process');
	await eventually(() => one.realtime.stats().hub.messages === 2);
	const other = await startInstance();
	const second = await other.open(ids(first)[0]);
	await one.close();
	expect(reasons(second)).toHaveLength(1);
});

test('a process that starts alone announces a gap to readers that resume, and to nobody else', async () => {
	const one = await startInstance();
	const first = await one.open();
	say('1');
	await first.when(() => first.texts.length === 1);
	first.close();
	await one.close();
	const other = await startInstance();
	const fresh = await other.open();
	const resumed = await other.open(ids(first)[0]);
	say('2');
	await fresh.when(() => fresh.texts.length === 1);
	await resumed.when(() => resumed.texts.length === 1);
	expect(reasons(fresh)).toEqual([]);
	expect(reasons(resumed)).toEqual(['upstream-gap']);
});

test('what a process missed before it started is announced before the first message that it receives', async () => {
	const one = await startInstance();
	const first = await one.open();
	say('1');
	await first.when(() => first.texts.length === 1);
	first.close();
	await one.close();
	say('missed by all');
	const backend = server.connect(5_000);
	const asked = deferred();
	const answered = deferred();
	backend.bus!.probe = async () => {
		asked.resolve();
		await answered.promise;
		return false;
	};
	const other = await startInstance({ backend });
	const opened = other.open(ids(first)[0]);
	await asked.promise;
	say('2');
	await eventually(() => other.realtime.stats().hub.messages === 1);
	answered.resolve();
	const resumed = await opened;
	await resumed.when(() => resumed.texts.length === 1);
	const heard = resumed.frames.filter(({ event }) => event !== 'health');
	expect(heard.map(({ event }) => event)).toEqual(['resync', 'message']);
});

test.each(['down', 'silent'] as const)(
	'live messages go on while the backend is %s, and who resumes across it gets one resync',
	async (state) => {
		const [one, other] = [await startInstance(), await startInstance()];
		const [first, second] = [await one.open(), await other.open()];
		const left = await one.open();
		say('before');
		for (const reader of [first, second, left]) {
			await reader.when(() => reader.texts.length === 1);
		}
		left.close();
		server.stop(state);
		for (const text of ['a', 'b', 'c', 'd', 'e']) {
			say(text);
			await first.when(() => first.texts.at(-1) === text);
			await second.when(() => second.texts.at(-1) === text);
		}
		// A fresh reader and one that resumes are served meanwhile, each told what it may miss.
		const fresh = await one.open();
		const resumed = await one.open(ids(left).at(-1));
		say('during');
		await fresh.when(() => fresh.texts.at(-1) === 'during');
		await resumed.when(() => resumed.texts.at(-1) === 'during');
		expect(reasons(fresh)).toEqual([]);
		expect(reasons(resumed)).toHaveLength(1);
		expect(first.health().at(-1)!.detail).toContain('"fake"');
		await eventually(() => one.realtime.stats().hub.backend!.state !== 'closed');
		expect(sum(one.realtime, 'backend_up', { backend: 'fake' })).toBe(0);

		server.start();
		for (const { realtime } of [one, other]) {
			await eventually(() => realtime.stats().hub.backend!.state === 'closed', undefined, 15_000);
		}
		expect(sum(one.realtime, 'backend_up', { backend: 'fake' })).toBe(1);
		expect(sum(one.realtime, 'backend_duration_seconds_count')).toBeGreaterThan(0);
		await first.when(() => first.health().at(-1)!.detail === undefined);
		await second.when(() => second.health().at(-1)!.detail === undefined);
		say('after');
		await first.when(() => first.texts.at(-1) === 'after');
		await second.when(() => second.texts.at(-1) === 'after');
		expect(first.texts).toEqual(['before', 'a', 'b', 'c', 'd', 'e', 'during', 'after']);
		expect(second.texts).toEqual(first.texts);
		expect(ids(second).at(-1)).toBe(ids(first).at(-1));
		const late = await other.open(ids(left).at(-1));
		await late.when(() => late.texts.at(-1) === 'after');
		expect(reasons(late)).toEqual(['upstream-gap']);
		// One report per change of state, whatever the number of calls.
		const reports = one.failures.filter(({ stage }) => stage === 'backend');
		expect(reports.map(({ message }) => message)).toEqual([
			expect.stringContaining('"fake" is unavailable'),
			expect.stringContaining('"fake" is back')
		]);
	},
	40_000
);

test("a cursor that was made up ends nobody's epoch", async () => {
	const one = await startInstance();
	const first = await one.open();
	say('1');
	await first.when(() => first.texts.length === 1);
	const forged = ids(first)[0]!.replace(/\d+$/, '999');
	const liar = await one.open(forged);
	expect(reasons(liar)).toEqual(['restart']);
	say('2');
	await first.when(() => first.texts.length === 2);
	expect(ids(first)[1]!.split('-')[0]).toBe(ids(first)[0]!.split('-')[0]);
	expect(reasons(first)).toEqual([]);
});

test('a log whose tail is lost goes on in a new epoch, and everybody is told', async () => {
	const [one, other] = [await startInstance(), await startInstance()];
	const [first, second] = [await one.open(), await other.open()];
	for (const text of ['1', '2', '3']) say(text);
	await first.when(() => first.texts.length === 3);
	await second.when(() => second.texts.length === 3);
	server.store.clear(JSON.stringify(['demo', 'demo', 'admin-message', 'message', { app: 'test' }]));
	say('4');
	await first.when(() => first.texts.length === 4);
	await second.when(() => second.texts.length === 4);
	for (const reader of [first, second]) {
		expect(reader.texts).toEqual(['1', '2', '3', '4']);
		expect(reasons(reader)).toHaveLength(1);
	}
});

test('a source that is lost and back before the log has been opened leaves no listener behind', async () => {
	const backend = server.connect();
	const listen = backend.bus!.listen.bind(backend.bus);
	let listeners = 0;
	backend.bus!.listen = (log, listener) => {
		const stop = listen(log, listener);
		listeners++;
		return () => {
			listeners--;
			stop();
		};
	};
	const realtime = createTestRealtime({
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		backend
	});
	const items = realtime.subscribe(demoChannel);
	realtime.lose();
	realtime.restore();
	await realtime.emit(demoChannel().message, { message: 'x' });
	await items.next();
	expect(listeners).toBe(1);
	realtime.close();
	expect(listeners).toBe(0);
});

/** A backend whose store appends as told. */
function withAppend(
	append: (next: ReplayStore['append']) => ReplayStore['append']
): RealtimeBackend {
	const backend = server.connect();
	const replay = backend.replay!;
	return { ...backend, replay: { ...replay, append: append(replay.append) } };
}

test('a process that lost its source passes on the gaps that others announce', async () => {
	const elsewhere = await startInngestDev();
	try {
		const one = await startInstance();
		const other = await startInstance({ engineUrl: elsewhere.url });
		const [first, second] = [await one.open(), await other.open()];
		say('1');
		await second.when(() => second.texts.length === 1);
		elsewhere.failTokens(500);
		elsewhere.dropSockets();
		await second.when(() => !second.health().at(-1)!.ok);
		engine.dropSockets();
		await first.when(() => reasons(first).length === 1);
		say('3');
		await second.when(() => second.texts.length === 2);
		const heard = second.frames.map(({ event }) => event).filter((event) => event !== 'health');
		expect(heard).toEqual(['message', 'resync', 'message']);
		expect(second.texts).toEqual(['1', '3']);
	} finally {
		await Promise.all(instances.splice(0).map((instance) => instance.close()));
		await elsewhere.close();
	}
});

test('what came through the log does not come again when its own append fails', async () => {
	let fail: (() => void) | undefined;
	const one = await startInstance();
	const other = await startInstance({
		backend: withAppend(
			(next) => (log, events) =>
				events[0]!.kind === 'resync'
					? next(log, events)
					: new Promise((_, reject) => (fail = () => reject(new Error('ECONNRESET'))))
		)
	});
	const [first, second] = [await one.open(), await other.open()];
	say('1');
	await second.when(() => second.texts.length === 1);
	await eventually(() => fail !== undefined);
	fail!();
	await second.when(() => second.health().at(-1)!.detail !== undefined);
	say('2');
	await second.when(() => second.texts.includes('2'));
	expect(second.texts).toEqual(['1', '2']);
	await first.when(() => first.texts.includes('2'));
	expect(first.texts).toEqual(['1', '2']);
});

test('what came while the backend was unavailable, and a late process appends, comes once to everybody', async () => {
	const late: [log: string, events: readonly ReplayEvent[]][] = [];
	const one = await startInstance({
		backend: withAppend((next) => (log, events) => {
			late.push([log, events.map((event) => ({ ...event }))]);
			return next(log, events);
		})
	});
	const first = await one.open();
	say('1');
	await first.when(() => first.texts.length === 1);
	server.stop();
	for (const text of ['2', '3']) {
		say(text);
		await first.when(() => first.texts.at(-1) === text);
	}
	const [log, events] = late.find(([, [event]]) => event!.payload.includes('"2"'))!;
	server.start();
	await first.when(() => first.health().at(-1)!.detail === undefined);
	// Who comes from another process, where nobody received it, and who comes from this one.
	const { last } = await server.connect().replay!.bounds(log);
	const elsewhere = await one.open(last);
	const back = await one.open(ids(first)[2]);
	await server.connect().replay!.append(log, events);
	say('4');
	const resumed = await one.open(ids(first)[0]);
	for (const reader of [first, elsewhere, back, resumed]) {
		await reader.when(() => reader.texts.includes('4'));
	}
	expect(first.texts).toEqual(['1', '2', '3', '4']);
	expect(elsewhere.texts).toEqual(['2', '4']);
	expect(reasons(elsewhere)).toEqual([]);
	expect(reasons(back)).toHaveLength(1);
	expect(back.texts).toEqual(['4']);
	expect(resumed.texts).toEqual(['2', '4']);
	expect(reasons(resumed)).toEqual(['upstream-gap']);
});

test('each loss of the source is announced, also where nothing came in between', async () => {
	const one = await startInstance();
	const first = await one.open();
	for (const losses of [1, 2]) {
		engine.dropSockets();
		await first.when(() => reasons(first).length === losses);
		await first.connected();
	}
	expect(reasons(first)).toEqual(['upstream-gap', 'upstream-gap']);
});

describe('a process that loses the backend while nothing comes', () => {
	/** A process that hears nothing but what another one puts into the log, and its connection. */
	async function startBeside(): Promise<{
		one: Instance;
		setAway(isAway: boolean): void;
		end(): Promise<void>;
	}> {
		const backend = server.connect();
		const listeners: BusListener[] = [];
		let isAway = false;
		const call = <T>(next: () => T): T => {
			if (isAway) throw new Error('ECONNREFUSED');
			return next();
		};
		const elsewhere = await startInngestDev();
		const one = await startInstance({
			engineUrl: elsewhere.url,
			backend: {
				...backend,
				replay: {
					...backend.replay!,
					append: (log, events) => call(() => backend.replay!.append(log, events)),
					since: (...args) => call(() => backend.replay!.since(...args)),
					bounds: (log) => call(() => backend.replay!.bounds(log))
				},
				bus: {
					...backend.bus!,
					listen(log, listener) {
						listeners.push(listener);
						return backend.bus!.listen(log, listener);
					}
				}
			}
		});
		return {
			one,
			setAway(value) {
				isAway = value;
				// The log is read, which fails.
				if (isAway) for (const listener of listeners) listener.live();
			},
			async end() {
				await Promise.all(instances.splice(0).map((instance) => instance.close()));
				await elsewhere.close();
			}
		};
	}

	test.each([
		{ who: 'nobody came', guests: 0, texts: ['1', '2', '3'], gaps: 0 },
		{ who: 'somebody came who is ahead of it', guests: 1, texts: ['1', '3'], gaps: 1 }
	])('goes on where it was if $who: $gaps gaps', async ({ guests, texts, gaps }) => {
		const { one, setAway, end } = await startBeside();
		try {
			const other = await startInstance();
			const [first, second] = [await one.open(), await other.open()];
			say('1');
			await first.when(() => first.texts.length === 1);
			setAway(true);
			await first.when(() => first.health().at(-1)!.detail !== undefined);
			say('2');
			await second.when(() => second.texts.length === 2);
			const ahead = ids(second).at(-1);
			const came = await Promise.all(Array.from({ length: guests }, () => one.open(ahead)));
			setAway(false);
			await first.when(() => first.health().at(-1)!.detail === undefined);
			say('3');
			await first.when(() => first.texts.at(-1) === '3');
			expect(first.texts).toEqual(texts);
			expect(reasons(first)).toHaveLength(gaps);
			for (const guest of came) {
				await guest.when(() => guest.texts.length > 0);
				expect(guest.texts).toEqual(['3']);
			}
		} finally {
			await end();
		}
	});
});
