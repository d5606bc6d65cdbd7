import { flushSync } from 'svelte';
import { expect, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { getRealtimeBusTopicStream, type RealtimeTopicStream } from '../../src/lib/client/index.js';
import { demo, user } from '../support/client/channels.js';
import { FakeEndpoint, type FakeStream } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

/** A page that shows the newest data stream of a topic. */
async function page(options: { limit?: number } = {}, topic = (): 'message' => 'message') {
	const endpoint = new FakeEndpoint();
	let answer!: RealtimeTopicStream;
	const screen = await render(Harness, {
		subscriptions: [{ channel: demo }],
		fetch: endpoint.fetch,
		reconnect: { minDelayMs: 1 },
		setup: () => {
			answer = getRealtimeBusTopicStream(demo, topic, options);
			return () => answer.current?.text ?? 'nothing yet';
		}
	});
	return { endpoint, answer, screen };
}

let sequence = 0;
const piece = (stream: FakeStream, streamId: string, text: string) =>
	stream.message('demo', 'message', text, `e-${++sequence}`, { kind: 'chunk', streamId });
const start = (stream: FakeStream, streamId: string) =>
	stream.message('demo', 'message', streamId, `e-${++sequence}`, {
		kind: 'datastream-start',
		streamId,
		runId: 'run-1'
	});
const end = (stream: FakeStream, streamId: string) =>
	stream.message('demo', 'message', streamId, `e-${++sequence}`, {
		kind: 'datastream-end',
		streamId
	});

test('the newest data stream grows piece by piece until it is done', async () => {
	const { endpoint, answer, screen } = await page();
	await expect.element(screen.getByText('nothing yet')).toBeVisible();
	const stream = endpoint.last.accept();
	start(stream, 's1');
	piece(stream, 's1', 'Once ');
	piece(stream, 's1', 'upon');
	await expect.element(screen.getByText('Once upon')).toBeVisible();
	expect(answer.current).toMatchObject({
		streamId: 's1',
		runId: 'run-1',
		chunks: ['Once ', 'upon'],
		done: false,
		interrupted: false
	});
	end(stream, 's1');
	await expect.poll(() => answer.current?.done).toBe(true);
});

test('iterating goes on when what names the topic changes and the topic does not', async () => {
	let data = $state.raw({ topic: 'message' as const });
	const { endpoint, answer, screen } = await page({}, () => data.topic);
	const heard: string[] = [];
	const ended = (async () => {
		for await (const text of answer) heard.push(text);
	})();
	const stream = endpoint.last.accept();
	// As `invalidateAll()` does, while it waits for the first data stream and while it reads that.
	data = { topic: 'message' };
	flushSync();
	start(stream, 's1');
	piece(stream, 's1', 'Once ');
	await expect.element(screen.getByText('Once ')).toBeVisible();
	data = { topic: 'message' };
	flushSync();
	piece(stream, 's1', 'upon');
	end(stream, 's1');
	await ended;
	expect(heard).toEqual(['Once ', 'upon']);
});

test('earlier data streams stay readable by id, the oldest finished ones go', async () => {
	const { endpoint, answer } = await page({ limit: 2 });
	const stream = endpoint.last.accept();
	for (const id of ['s1', 's2', 's3']) {
		start(stream, id);
		piece(stream, id, `of ${id}`);
		if (id !== 's1') end(stream, id);
	}
	start(stream, 's4');
	await expect.poll(() => answer.current?.streamId).toBe('s4');
	// s1 still grows: taking it away would make its next piece look like a stream without a beginning.
	expect(answer.all.map(({ streamId }) => streamId)).toEqual(['s1', 's4']);
	expect(answer.get('s1')?.text).toBe('of s1');
	expect(answer.get('s2')).toBeUndefined();
	answer.clear();
	expect(answer.current).toBe(null);
});

test('a reconnect neither loses nor doubles a piece', async () => {
	const { endpoint, answer, screen } = await page();
	const first = endpoint.last.accept();
	start(first, 's1');
	piece(first, 's1', 'a');
	await expect.element(screen.getByText('a', { exact: true })).toBeVisible();
	first.fail();
	await expect.poll(() => endpoint.streams.length).toBe(2);
	expect(endpoint.last.body.lastEventId).toBe(`e-${sequence}`);
	const second = endpoint.last.accept();
	second.message('demo', 'message', 'a', `e-${sequence}`, { kind: 'chunk', streamId: 's1' });
	piece(second, 's1', 'b');
	end(second, 's1');
	await expect.poll(() => answer.current?.done).toBe(true);
	expect(answer.current).toMatchObject({ text: 'ab', interrupted: false });
});

test('a resync marks a data stream that is open as interrupted, not one that is done', async () => {
	const { endpoint, answer } = await page();
	const stream = endpoint.last.accept();
	start(stream, 's1');
	end(stream, 's1');
	start(stream, 's2');
	piece(stream, 's2', 'a');
	stream.resync('demo', 'upstream-gap', `e-${++sequence}`);
	piece(stream, 's2', 'c');
	await expect.poll(() => answer.current?.text).toBe('ac');
	expect(answer.current?.interrupted).toBe(true);
	expect(answer.get('s1')?.interrupted).toBe(false);
});

test('a data stream whose beginning did not come is interrupted', async () => {
	const { endpoint, answer } = await page();
	piece(endpoint.last.accept(), 's1', 'middle');
	await expect.poll(() => answer.current?.text).toBe('middle');
	expect(answer.current?.interrupted).toBe(true);
});

test('iterating gives the pieces that came and those to come, and ends with the stream', async () => {
	const { endpoint, answer } = await page();
	const pieces: string[] = [];
	const reading = (async () => {
		for await (const text of answer) pieces.push(text);
	})();
	const stream = endpoint.last.accept();
	start(stream, 's1');
	piece(stream, 's1', 'a');
	await expect.poll(() => pieces).toEqual(['a']);
	piece(stream, 's1', 'b');
	end(stream, 's1');
	await reading;
	expect(pieces).toEqual(['a', 'b']);
	const again: string[] = [];
	for await (const text of answer.current!) again.push(text);
	expect(again).toEqual(['a', 'b']);
});

test('iterating goes on when other subscriptions change', async () => {
	const { endpoint, answer, screen } = await page();
	const pieces: string[] = [];
	const reading = (async () => {
		for await (const text of answer) pieces.push(text);
	})();
	const stream = endpoint.last.accept(`e-${sequence}`);
	start(stream, 's1');
	piece(stream, 's1', 'a');
	await expect.poll(() => pieces).toEqual(['a']);
	await screen.rerender({
		subscriptions: [{ channel: demo }, { channel: user, channelParams: 'alice' }]
	});
	await expect.poll(() => endpoint.streams.length).toBe(2);
	endpoint.last.accept(`e-${sequence}`);
	await expect.poll(() => stream.aborted).toBe(true);
	piece(endpoint.last, 's1', 'b');
	end(endpoint.last, 's1');
	await reading;
	expect(pieces).toEqual(['a', 'b']);
});

test('iterating throws where pieces may be missing', async () => {
	const { endpoint, answer } = await page();
	const stream = endpoint.last.accept();
	start(stream, 's1');
	piece(stream, 's1', 'a');
	const pieces: string[] = [];
	const reading = (async () => {
		for await (const text of answer) pieces.push(text);
	})();
	await expect.poll(() => pieces).toEqual(['a']);
	stream.resync('demo', 'expired', `e-${++sequence}`);
	await expect(reading).rejects.toMatchObject({
		code: 'CLOSED',
		message: expect.stringContaining('"s1"')
	});
});

test('iterating ends when the component does', async () => {
	const { endpoint, answer, screen } = await page();
	const stream = endpoint.last.accept();
	const waiting = (async () => {
		for await (const text of answer) return text;
		return 'ended';
	})();
	await screen.rerender({ shown: false });
	expect(await waiting).toBe('ended');
	start(stream, 's1');
	expect(answer.current).toBe(null);
});
