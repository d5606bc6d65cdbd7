import { expect, test } from 'vitest';
import { decodeMessage, type StreamTopics } from '../../src/lib/server/inngest/message.js';

const decode = (
	frame: unknown,
	streams: StreamTopics = new Map()
): ReturnType<typeof decodeMessage> => decodeMessage(JSON.stringify(frame), streams);

const bound = (kind: string, id: string): unknown => ({ kind, channel: 'a', topic: 't', data: id });
const piece = (id: string): unknown => ({ kind: 'chunk', stream_id: id, data: 'text' });

test('a message keeps its time as it was written, and empty fields are absent', () => {
	const created_at = '2026-01-01T00:00:00.123456789Z';
	const frame = {
		...(bound('data', '1') as object),
		created_at,
		run_id: 'r',
		fn_id: '',
		env_id: 'e'
	};
	expect(decode(frame)).toEqual({
		kind: 'data',
		channel: 'a',
		topic: 't',
		data: '1',
		runId: 'r',
		fnId: undefined,
		envId: 'e',
		createdAt: created_at,
		streamId: undefined
	});
});

test('a run belongs to the topic `$run`, whatever it says', () => {
	expect(decode({ kind: 'run', channel: 'a', data: {} })).toMatchObject({ topic: '$run' });
	expect(decode({ kind: 'run', channel: 'a', topic: 'x', data: {} })).toMatchObject({
		topic: '$run'
	});
});

test('a piece belongs to where its data stream began, until that ends', () => {
	const streams: StreamTopics = new Map();
	decode(bound('datastream-start', 's'), streams);
	expect(decode(piece('s'), streams)).toMatchObject({
		kind: 'chunk',
		channel: 'a',
		topic: 't',
		data: 'text',
		streamId: 's'
	});
	expect(decode(bound('datastream-end', 's'), streams)).toMatchObject({ streamId: 's', data: 's' });
	expect(decode(piece('s'), streams)).toBe('refused');
	expect(streams.size).toBe(0);
});

test('data streams that never end are not remembered for ever', () => {
	const streams: StreamTopics = new Map();
	for (let index = 0; index <= 10_000; index++) {
		decode(bound('datastream-start', `s${index}`), streams);
	}
	expect(streams.size).toBe(10_000);
	expect(decode(piece('s0'), streams)).toBe('refused');
	expect(decode(piece('s1'), streams)).toMatchObject({ streamId: 's1' });
});
