import { expect, test } from 'vitest';
import { fingerprint } from '../../src/lib/server/inngest/fingerprint.js';
import type { SourceMessage } from '../../src/lib/server/hub/source.js';
import { decodeMessage } from '../../src/lib/server/inngest/message.js';

function messageOf(fields: Record<string, unknown> = {}): SourceMessage {
	const frame = {
		kind: 'data',
		channel: 'a',
		topic: 't',
		data: { text: 'hello' },
		created_at: '2026-01-01T00:00:00.123456789Z',
		...fields
	};
	return decodeMessage(JSON.stringify(frame), new Map()) as SourceMessage;
}

test('two deliveries of one message are alike, though a server adds fields', () => {
	expect(fingerprint(messageOf({ metadata: { a: 1 }, fn_slug: 'app-fn', run_id: 'x' }))).toBe(
		fingerprint(messageOf())
	);
});

test.each([
	['channel', { channel: 'b' }],
	['topic', { topic: 'u' }],
	['kind', { kind: 'step' }],
	['data', { data: { text: 'hallo' } }],
	['order of the data', { data: ['b', 'a'] }],
	['a nanosecond', { created_at: '2026-01-01T00:00:00.123456788Z' }]
])('messages that differ in %s differ', (_, fields) => {
	expect(fingerprint(messageOf(fields))).not.toBe(fingerprint(messageOf()));
});

test('many payloads of one instant are told apart', () => {
	const prints = new Set<string>();
	for (let index = 0; index < 20_000; index++) prints.add(fingerprint(messageOf({ data: index })));
	for (let index = 0; index < 20_000; index++) {
		prints.add(fingerprint(messageOf({ data: { id: `user-${index % 200}`, at: index } })));
	}
	expect(prints.size).toBe(40_000);
});

test('data that cannot be written again has a fingerprint all the same', () => {
	const deep = JSON.parse('['.repeat(9_000) + ']'.repeat(9_000)) as unknown;
	const message = { ...messageOf(), data: deep };
	expect(fingerprint(message)).toBe(fingerprint(message));
	expect(fingerprint(message)).not.toBe(fingerprint(messageOf()));
	expect(fingerprint({ ...message, data: undefined })).toEqual(expect.any(String));
});
