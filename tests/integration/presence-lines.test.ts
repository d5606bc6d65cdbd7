import { afterEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { People, Watcher } from '../support/people.js';
import { SilentProxy } from '../support/proxy.js';
import { RawClient } from '../support/raw.js';
import { openStream } from '../support/sse.js';
import { eventually } from '../support/wait.js';

let people = new People();
const ends: (() => void)[] = [];
afterEach(async () => {
	for (const end of ends.splice(0)) end();
	vi.useRealTimers();
	await people.close();
	people = new People();
});

test('a page whose line falls silent leaves after 90 s, on a connection that is kept alive too', async () => {
	vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
	const one = await people.start({ presence: { graceMs: 50 } });
	const proxy = await SilentProxy.start(Number(new URL(one.server.url).port));
	ends.push(() => proxy.close());
	const url = `http://127.0.0.1:${proxy.port}/`;
	const bob = await one.watch('bob');
	// As browsers do, on a connection that is kept; and on one that is not.
	const reader = await openStream(url, { channel: 'demo' }, { 'x-user': 'alice' });
	const alice = new Watcher(reader, 'alice', url);
	ends.push(() => alice.close());
	const carol = new Watcher(
		await openStream(url, { channel: 'demo' }, { 'x-user': 'carol', connection: 'close' }),
		'carol',
		url
	);
	ends.push(() => carol.close());
	await bob.shows(['alice', 'bob', 'carol']);
	expect(proxy.silence('POST')).toBeGreaterThanOrEqual(2);
	/** Time goes by, and the page that is there sends its signs of life. */
	const pass = async (seconds: number): Promise<void> => {
		for (let second = 0; second < seconds; second += 10) {
			await vi.advanceTimersByTimeAsync(10_000);
			if (second % 30 === 0) expect((await bob.send({})).status).toBe(204);
		}
	};
	await pass(60);
	expect(bob.ids).toEqual(['alice', 'bob', 'carol']);
	await pass(40);
	await bob.shows(['bob']);
	expect(one.realtime.stats().streams).toBe(1);
	await pass(300);
	expect(bob.ids).toEqual(['bob']);
	expect(one.hooks.filter((hook) => hook.startsWith('leave')).sort()).toEqual([
		'leave alice',
		'leave carol'
	]);
});

test('a channel of 5,000: a change costs a reader the change, and a sync never its stream', async () => {
	const one = await people.start({
		limits: { maxBufferedBytes: 64 * 1024 },
		presence: { graceMs: 0, schema: z.object({ x: z.number() }).partial() }
	});
	const text = 'x'.repeat(2_000);
	for (let n = 0; n < 5_000; n++) {
		const member = { id: `member ${n}`, data: JSON.stringify({ text }), streams: 1 };
		await people.server.presence.join('["demo","demo"]', 'other', member, { leaseMs: Infinity });
	}
	const alice = await one.watch('alice');
	expect(alice.sync.members).toHaveLength(5_001);

	// Ten megabytes for a reader that does not take them, and that asks for them again and again.
	const slow = await RawClient.open(one.server.url);
	ends.push(() => slow.leave());
	slow.post({ channel: 'demo' });
	await eventually(() => slow.text.includes('"stream":"'));
	slow.stall();
	const stream = /"stream":"([^"]+)"/.exec(slow.text)![1]!;
	for (let n = 0; n < 30; n++) await alice.send({ stream, sync: true }, '');
	const bytes = (): number => JSON.stringify(alice.payloads.slice(1)).length;
	for (let x = 1; x <= 5; x++) {
		const before = alice.payloads.length;
		await alice.send({ data: { x } });
		await eventually(() => alice.payloads.length > before);
	}
	expect(bytes()).toBeLessThan(2_000);
	slow.resume();
	await eventually(() => slow.text.includes('"x":5'), undefined, 20_000);
	expect(slow.text.split('"type":"sync"').length - 1).toBeLessThanOrEqual(4);
	expect(one.realtime.stats()).toMatchObject({ slowReaders: 0, streams: 2 });
}, 60_000);
