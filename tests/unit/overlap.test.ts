import { afterEach, expect, test, vi } from 'vitest';
import type { SourceMessage } from '../../src/lib/server/hub/source.js';
import { fingerprint } from '../../src/lib/server/inngest/fingerprint.js';
import { Overlap, Repeats } from '../../src/lib/server/inngest/overlap.js';
import type { Session } from '../../src/lib/server/inngest/session.js';

afterEach(() => {
	vi.useRealTimers();
});

function messageOf(data: unknown, fields: Partial<Omit<SourceMessage, 'key'>> = {}): SourceMessage {
	const message = {
		kind: 'data' as const,
		channel: 'a',
		topic: 't',
		data,
		runId: undefined,
		fnId: undefined,
		envId: undefined,
		createdAt: `2026-01-01T00:00:00.${String(data)}Z`,
		streamId: undefined,
		...fields
	};
	const methods = {
		key(this: SourceMessage): string {
			return fingerprint(this);
		}
	};
	return Object.assign(Object.create(methods) as typeof methods, message);
}

const piece = (streamId: string, kind: SourceMessage['kind'] = 'chunk'): SourceMessage =>
	messageOf(streamId, { kind, streamId });

/** An old socket that carries topic `t` of channel `a`. */
function oldSession(streams: string[] = []): Session {
	return {
		streams: new Map(streams.map((id) => [id, { channel: 'a', topic: 't' }])),
		has: (channel: string, topic: string) => channel === 'a' && topic === 't',
		doubtfulChannels: () => new Set()
	} as unknown as Session;
}

test('the new socket is held back on the topics of the old one, and on no others', () => {
	const overlap = new Overlap(oldSession());
	overlap.begin(undefined);
	expect(overlap.holds(messageOf(1))).toBe(true);
	expect(overlap.holds(messageOf(2, { topic: 'u' }))).toBe(false);
	expect(overlap.holds(messageOf(3, { channel: 'b' }))).toBe(false);
	expect(overlap.end().messages).toEqual([messageOf(1)]);
});

test('what is released follows what the old socket delivered, less that', () => {
	const overlap = new Overlap(oldSession());
	overlap.begin(undefined);
	for (const data of [1, 2, 3]) overlap.delivered(messageOf(data));
	for (const data of [2, 3, 4, 5]) overlap.holds(messageOf(data));
	expect(overlap.end().messages).toEqual([messageOf(4), messageOf(5)]);
});

test('a new socket that is lost takes what it brought with it', () => {
	const overlap = new Overlap(oldSession());
	overlap.begin(undefined);
	overlap.delivered(messageOf(1));
	overlap.holds(messageOf(2));
	overlap.abandon();
	overlap.delivered(messageOf(2));
	overlap.begin(undefined);
	overlap.holds(messageOf(3));
	const { messages, repeats } = overlap.end();
	expect(messages).toEqual([messageOf(3)]);
	// It delivered these before the present one was asked for.
	expect(repeats?.take(messageOf(1))).toBe(false);
	expect(repeats?.take(messageOf(2))).toBe(false);
});

test('without a new socket there is nothing to release and nothing to repeat', () => {
	const overlap = new Overlap(oldSession());
	overlap.delivered(messageOf(1));
	expect(overlap.end()).toEqual({ messages: [], repeats: undefined });
});

test('each delivery answers for one repeat', () => {
	const repeats = new Repeats([], undefined);
	repeats.add(messageOf(1));
	repeats.add(messageOf(1));
	expect([1, 2, 3].map(() => repeats.take(messageOf(1)))).toEqual([true, true, false]);
	expect(repeats.take(messageOf(2))).toBe(false);
});

test('repeats are known for five seconds after the old socket delivered its last', () => {
	vi.useFakeTimers({ toFake: ['performance'] });
	const repeats = new Repeats([], undefined);
	for (const data of [1, 2, 3]) repeats.add(messageOf(data));
	vi.advanceTimersByTime(3_600_000);
	expect(repeats.take(messageOf(1))).toBe(true);
	repeats.seal();
	vi.advanceTimersByTime(4_999);
	expect(repeats.take(messageOf(2))).toBe(true);
	vi.advanceTimersByTime(1);
	expect(repeats.take(messageOf(3))).toBe(false);
});

test('data streams of the old socket are its own to their end, however long they last', () => {
	vi.useFakeTimers({ toFake: ['performance'] });
	const repeats = new Repeats(['before'], undefined);
	repeats.add(piece('during', 'datastream-start'));
	repeats.seal();
	vi.advanceTimersByTime(600_000);
	for (const id of ['before', 'during']) {
		expect(repeats.take(piece(id))).toBe(true);
		expect(repeats.take(piece(id, 'datastream-end'))).toBe(true);
		expect(repeats.take(piece(id, 'datastream-start'))).toBe(false);
	}
	expect(repeats.take(piece('after'))).toBe(false);
});

test('a data stream that outlives a change is known in the next one', () => {
	const first = new Repeats(['long', 'short'], undefined);
	expect(first.take(piece('short', 'datastream-end'))).toBe(true);
	const overlap = new Overlap(oldSession(['own']));
	overlap.begin(first);
	const { repeats } = overlap.end();
	expect(['long', 'own', 'short'].map((id) => repeats?.take(piece(id)))).toEqual([
		true,
		true,
		false
	]);
});
