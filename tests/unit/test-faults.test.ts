import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { memoryBackend, type RealtimeBackend } from '../../src/lib/server/index.js';
import { createTestRealtime, type TestRealtime } from '../../src/lib/testing/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { FakeServer } from '../support/backend.js';

let realtime: TestRealtime;
afterEach(() => realtime.close());

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams: (_: unknown, id: string) => id.replace('user:', ''),
		authorize: () => true
	}
};

/** Opens a stream. @returns the text that came so far. */
function read(body: unknown): () => string {
	let text = '';
	void (async () => {
		const response = await realtime.fetch('/api/events', {
			method: 'POST',
			body: JSON.stringify(body)
		});
		for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) text += chunk;
	})().catch(() => {});
	return () => text;
}

const until = async (condition: () => boolean): Promise<void> =>
	void (await expect.poll(condition, { interval: 5 }).toBe(true));

const count = (text: string, part: string): number => text.split(part).length - 1;
const say = (message: string) => realtime.emit(demoChannel().message, { message });

test('in a silence nothing arrives, and all of it afterwards', async () => {
	realtime = createTestRealtime({ channels });
	const text = read({ channel: 'demo' });
	await until(() => text().includes('"connected"'));
	const end = realtime.silence();
	await say('one');
	await say('two');
	await wait(50);
	expect(text()).not.toContain('one');
	end();
	await until(() => text().includes('two'));
	expect(count(text(), '"one"')).toBe(1);
});

test('on a slow line pieces come late, one after the other; a reader that falls behind is closed', async () => {
	realtime = createTestRealtime({ channels, limits: { maxBufferedBytes: 10_000 } });
	const text = read({ channel: 'demo' });
	await until(() => text().includes('"connected"'));
	const end = realtime.slow(100);
	const saidAt = performance.now();
	await say('late');
	await until(() => text().includes('late'));
	expect(performance.now() - saidAt).toBeGreaterThan(90);
	for (let i = 0; i < 20; i++) {
		await say('x'.repeat(2_000));
		await wait(1);
	}
	await until(() => realtime.stats().slowReaders === 1);
	end();
	const again = read({ channel: 'demo' });
	await until(() => again().includes('"connected"'));
	await say('quick');
	await until(() => again().includes('quick'));
});

test('each of several faults lasts until it is ended itself', async () => {
	realtime = createTestRealtime({ channels, onFailure() {} });
	const text = read({ channel: 'demo' });
	await until(() => text().includes('"connected"'));
	const silences = [realtime.silence(), realtime.silence()];
	await say('one');
	silences[0]!();
	silences[0]!();
	await wait(50);
	expect(text()).not.toContain('"one"');
	silences[1]!();
	await until(() => text().includes('"one"'));
	const startedMs = performance.now();
	const quick = realtime.slow(200);
	realtime.slow(1)();
	await say('two');
	await until(() => text().includes('"two"'));
	expect(performance.now() - startedMs).toBeGreaterThan(190);
	quick();
	const outages = [realtime.backendDown(), realtime.backendDown()];
	outages[1]!();
	await expect(say('lost')).rejects.toMatchObject({ code: 'BACKEND' });
	outages[0]!();
	await say('kept');
});

test('a silence that begins while another one holds something back holds it back, too', async () => {
	realtime = createTestRealtime({ channels });
	const text = read({ channel: 'demo' });
	await until(() => text().includes('"connected"'));
	const first = realtime.silence();
	await say('one');
	await wait(20);
	const second = realtime.silence();
	first();
	await wait(50);
	expect(text()).not.toContain('"one"');
	second();
	await until(() => text().includes('"one"'));
});

test('a delay that is no duration is refused', () => {
	realtime = createTestRealtime({ channels });
	for (const delayMs of [-1, NaN, Infinity]) {
		expect(() => realtime.slow(delayMs)).toThrow(/slow\(\) needs zero or more milliseconds/);
	}
});

test('a resync tells every reader', async () => {
	realtime = createTestRealtime({ channels });
	const [demo, user] = [read({ channel: 'demo' }), read({ channel: 'user:alice' })];
	await until(() => [demo, user].every((text) => text().includes('"connected"')));
	realtime.resync();
	await until(() => [demo, user].every((text) => text().includes('event: resync')));
	await say('after');
	await until(() => demo().includes('after'));
});

test('who is denied is cut off for good and let in again later; other channels notice nothing', async () => {
	realtime = createTestRealtime({ channels, recheckIntervalMs: 600_000, onFailure() {} });
	const [demo, user] = [read({ channel: 'demo' }), read({ channel: 'user:alice' })];
	await until(() => [demo, user].every((text) => text().includes('"connected"')));
	const allow = realtime.deny(demoChannel, { message: 'Not today.' });
	await until(() => demo().includes('Not today.'));
	expect(demo()).toMatch(/"fatal":true/);
	const ask = (channel: string): Promise<Response> =>
		realtime.fetch(`/api/events?channel=${channel}`);
	expect((await ask('demo')).status).toBe(403);
	expect((await ask('user:alice')).status).toBe(200);
	const allowAlice = realtime.deny(userChannel, { channelParams: 'alice' });
	await until(() => user().includes('"fatal":true'));
	expect((await ask('user:bob')).status).toBe(200);
	allow();
	allowAlice();
	expect((await ask('demo')).status).toBe(200);
	const allowAll = realtime.deny();
	expect((await ask('user:bob')).status).toBe(403);
	allowAll();
});

test('without checks of open streams, who is denied has to come back, and is refused', async () => {
	realtime = createTestRealtime({ channels, onFailure() {} });
	const text = read({ channel: 'demo' });
	await until(() => text().includes('"connected"'));
	realtime.deny();
	await until(() => realtime.stats().streams === 0);
	expect((await realtime.fetch('/api/events?channel=demo')).status).toBe(403);
});

test.each<[string, () => RealtimeBackend | undefined]>([
	['no backend', () => undefined],
	['an empty backend', () => memoryBackend()],
	['a shared backend', () => new FakeServer().connect()]
])('with %s, emit rejects while it is down, and works again afterwards', async (_name, backend) => {
	realtime = createTestRealtime({ channels, backend: backend(), onFailure() {} });
	const text = read({ channel: 'demo' });
	await until(() => text().includes('"connected"'));
	await say('before');
	await until(() => text().includes('before'));
	const end = realtime.backendDown();
	await expect(say('lost')).rejects.toMatchObject({ code: 'BACKEND' });
	end();
	await expect
		.poll(
			() =>
				say('after').then(
					() => true,
					() => false
				),
			{ timeout: 20_000 }
		)
		.toBe(true);
	const again = read({ channel: 'demo', history: 10 });
	await until(() => again().includes('"connected"'));
	await say('seen');
	await until(() => again().includes('seen'));
});

test('a backend that takes part in transactions of the app still does', async () => {
	const backend = new FakeServer().connect();
	const publish = vi.fn(backend.bus!.publish);
	const bus = { ...backend.bus!, isTransactional: true, publish };
	realtime = createTestRealtime({ channels, backend: { ...backend, bus } });
	const tx = {};
	await realtime.emit(demoChannel().message, { message: 'in it' }, { tx });
	expect(publish.mock.lastCall![2]!.tx).toBe(tx);
});

test('while a shared backend is down, open streams say so', async () => {
	realtime = createTestRealtime({ channels, backend: new FakeServer().connect(), onFailure() {} });
	const text = read({ channel: 'demo' });
	await until(() => text().includes('"connected"'));
	const end = realtime.backendDown();
	for (let i = 0; i < 3; i++) await say('lost').catch(() => {});
	await until(() => /is unavailable|is being restored/.test(text()));
	end();
});
