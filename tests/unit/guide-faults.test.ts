// The example of docs/guides/testing.md; a test compares them.
import { demoChannel } from '../support/guide/quickStart.js';
import { createRealtimeBus } from '../../src/lib/client/standalone.js';
import { createTestRealtime } from '../../src/lib/testing/index.js';
import { expect, onTestFinished, test, vi } from 'vitest';

/** An endpoint, and a page that reads it. */
async function open() {
	const realtime = createTestRealtime({
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		onFailure: () => {}
	});
	const onFailure = vi.fn();
	const onResync = vi.fn();
	const page = createRealtimeBus({
		endpoint: '/api/events',
		fetch: realtime.fetch,
		onFailure,
		onResync
	});
	onTestFinished(() => {
		page.close();
		realtime.close();
	});
	const heard: string[] = [];
	page.subscribe(demoChannel, {}, ({ data }) => heard.push(data.message));
	const status = () => page.status.current.status;
	await expect.poll(status).toBe('connected');
	const say = (message: string) => realtime.emit(demoChannel.message, { message });
	return { realtime, heard, status, say, onFailure, onResync };
}

test('cut: the page comes back by itself, and gets what it missed', async () => {
	const { realtime, heard, say, onResync } = await open();
	realtime.cut();
	await say('missed');
	await expect.poll(() => heard).toEqual(['missed']);
	expect(onResync).not.toHaveBeenCalled();
});

test('silence: nothing arrives until the network is back', async () => {
	const { realtime, heard, say } = await open();
	const end = realtime.silence();
	await say('held back');
	expect(heard).toEqual([]);
	end();
	await expect.poll(() => heard).toEqual(['held back']);
});

test('slow: messages arrive later, in order', async () => {
	const { realtime, heard, say } = await open();
	const startedMs = performance.now();
	realtime.slow(100);
	await say('first');
	await say('second');
	await expect.poll(() => heard).toEqual(['first', 'second']);
	expect(performance.now() - startedMs).toBeGreaterThan(95);
});

test('resync: the page is told that messages may be missing', async () => {
	const { realtime, onResync } = await open();
	realtime.resync();
	await expect.poll(() => onResync.mock.calls.length).toBe(1);
});

test('deny: the page is refused for good', async () => {
	const { realtime, status, onFailure } = await open();
	realtime.deny(demoChannel, { message: 'Please sign in again.' });
	await expect.poll(status).toBe('degraded');
	expect(onFailure).toHaveBeenLastCalledWith(
		expect.objectContaining({ status: 403, fatal: true, message: 'Please sign in again.' })
	);
});

test('backendDown: what cannot be kept is refused', async () => {
	const { realtime, heard, say } = await open();
	const restore = realtime.backendDown();
	await expect(say('lost')).rejects.toMatchObject({ code: 'BACKEND' });
	restore();
	await say('kept');
	await expect.poll(() => heard).toEqual(['kept']);
});
