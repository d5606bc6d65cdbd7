import { beforeEach, expect, test, vi } from 'vitest';
import { compareCursors } from '../../src/lib/protocol/cursor.js';
import { MemoryReplayStore, type ReplayOptions } from '../../src/lib/server/backend/memory.js';

let nowMs = 0;
beforeEach(() => void (nowMs = 1_000_000));

const createStore = (options: ReplayOptions = {}): MemoryReplayStore =>
	new MemoryReplayStore({ now: () => nowMs, ...options });

/** Adds one event per payload. */
function add(store: MemoryReplayStore, channel: string, ...payloads: string[]): readonly string[] {
	return store.append(
		channel,
		payloads.map((payload) => ({ key: '', kind: 'message', topic: 't', payload }))
	);
}

const texts = (store: MemoryReplayStore, channel: string, cursor: string): string[] =>
	store.since(channel, cursor).events.map(({ payload }) => payload);

test('what follows a cursor is given in order, each event with its own', () => {
	const store = createStore();
	const start = store.bounds('a').last;
	const cursors = add(store, 'a', '1', '2', '3');
	expect(store.since('a', start)).toEqual({
		events: cursors.map((cursor, index) => ({
			cursor,
			kind: 'message',
			topic: 't',
			payload: String(index + 1)
		}))
	});
	expect(store.since('a', cursors[1]!)).toEqual({
		events: [{ cursor: cursors[2], kind: 'message', topic: 't', payload: '3' }]
	});
	expect(store.since('a', cursors[2]!)).toEqual({ events: [] });
	expect(compareCursors(cursors[0]!, cursors[2]!)).toBeLessThan(0);
});

test('channels count by themselves', () => {
	const store = createStore();
	const [a] = add(store, 'a', '1');
	const [b] = add(store, 'b', '2');
	expect(compareCursors(a!, b!)).toBeNull();
	expect(texts(store, 'a', store.bounds('a').first)).toEqual(['1']);
	expect(texts(store, 'b', store.bounds('b').first)).toEqual(['2']);
});

test('past maxEvents the oldest goes, and a cursor before it has missed something', () => {
	const store = createStore({ maxEvents: 3 });
	const cursors = add(store, 'a', '1', '2', '3', '4', '5');
	expect(store.size.events).toBe(3);
	expect(store.since('a', cursors[0]!)).toMatchObject({ missed: 'expired' });
	expect(texts(store, 'a', cursors[0]!)).toEqual(['3', '4', '5']);
	expect(store.since('a', cursors[1]!).missed).toBeUndefined();
	expect(texts(store, 'a', cursors[1]!)).toEqual(['3', '4', '5']);
	expect(store.bounds('a')).toEqual({ first: cursors[1], last: cursors[4] });
});

test('past maxAgeMs an event goes, whether or not another comes', () => {
	const store = createStore({ maxAgeMs: 1_000 });
	const [first] = add(store, 'a', '1');
	nowMs += 600;
	const [second] = add(store, 'a', '2');
	nowMs += 400;
	expect(texts(store, 'a', store.bounds('a').first)).toEqual(['1', '2']);
	nowMs += 1;
	expect(store.since('a', first!)).toEqual({
		events: [{ cursor: second, kind: 'message', topic: 't', payload: '2' }]
	});
	nowMs += 600;
	expect(store.since('a', first!)).toEqual({ events: [], missed: 'expired' });
	expect(store.since('a', second!)).toEqual({ events: [] });
	expect(store.bounds('a')).toEqual({ first: second, last: second });
	expect(store.size).toEqual({ bytes: 0, events: 0 });
});

test('events age by a clock that nobody sets', () => {
	vi.useFakeTimers({ toFake: ['Date', 'performance'] });
	const store = new MemoryReplayStore({ maxAgeMs: 1_000 });
	const [first] = add(store, 'a', '1', '2');
	vi.setSystemTime(Date.now() + 3_600_000);
	expect(texts(store, 'a', first!)).toEqual(['2']);
	vi.setSystemTime(0);
	vi.advanceTimersByTime(1_001);
	expect(store.since('a', first!)).toEqual({ events: [], missed: 'expired' });
	vi.useRealTimers();
});

test('past maxBytes the oldest event of all channels goes first', () => {
	const store = createStore({ maxBytes: 4_000 });
	const payload = 'x'.repeat(1_000);
	const [a1] = add(store, 'a', payload);
	const [b1] = add(store, 'b', payload);
	const [a2] = add(store, 'a', payload);
	expect(store.size.events).toBe(3);
	add(store, 'c', payload);
	expect(store.size.events).toBe(3);
	expect(store.size.bytes).toBeLessThanOrEqual(4_000);
	expect(store.bounds('a')).toEqual({ first: a1, last: a2 });
	add(store, 'c', payload);
	expect(store.bounds('b')).toEqual({ first: b1, last: b1 });
	expect(store.bounds('a')).toEqual({ first: a1, last: a2 });
	add(store, 'c', payload);
	expect(store.bounds('a')).toEqual({ first: a2, last: a2 });
});

test('a message larger than maxBytes is handed out a cursor and not kept', () => {
	const store = createStore({ maxBytes: 1_000 });
	const before = add(store, 'a', 'small')[0]!;
	const [cursor] = add(store, 'a', 'x'.repeat(2_000));
	expect(store.size).toEqual({ bytes: 0, events: 0 });
	expect(store.since('a', before).missed).toBe('expired');
	expect(store.since('a', cursor!)).toEqual({ events: [] });
});

test('a channel may have bounds of its own, but shares the budget of bytes', () => {
	const store = createStore({ maxEvents: 10 });
	store.limit('a', { maxEvents: 2 });
	store.limit('b', { maxEvents: 0 });
	add(store, 'a', '1', '2', '3');
	const [b] = add(store, 'b', '1');
	add(store, 'c', '1', '2', '3');
	expect(texts(store, 'a', store.bounds('a').first)).toEqual(['2', '3']);
	expect(store.size.events).toBe(5);
	expect(store.since('b', b!)).toEqual({ events: [] });
	expect(store.since('b', b!.replace(/\d+$/, '0'))).toEqual({ events: [], missed: 'expired' });
});

test('a released channel begins a new epoch: a cursor of the old one has gone idle', () => {
	const store = createStore();
	const [old] = add(store, 'a', '1');
	add(store, 'b', '1');
	store.release('a');
	store.release('never seen');
	expect(store.size.events).toBe(1);
	expect(store.since('a', old!)).toEqual({ events: [], missed: 'idle' });
	const [renewed] = add(store, 'a', '2');
	expect(compareCursors(old!, renewed!)).toBeNull();
});

test.each(['other.1-5', 'nonsense', '', '-', 'x-1-2'])(
	'a cursor of another process, or none at all, has missed a restart: %j',
	(cursor) => {
		const store = createStore();
		add(store, 'a', '1');
		expect(store.since('a', cursor)).toEqual({ events: [], missed: 'restart' });
	}
);

test('a cursor of an epoch that has not come so far is not believed', () => {
	const store = createStore();
	const [cursor] = add(store, 'a', '1');
	const { events, missed } = store.since('a', cursor!.replace(/1$/, '7'));
	expect(events).toEqual([]);
	expect(missed).toBeDefined();
});

test('the counts match the kept entries, whatever comes and goes', () => {
	const store = createStore({ maxEvents: 50, maxAgeMs: 5_000, maxBytes: 60_000 });
	const channels = ['a', 'b', 'c', 'd'];
	const all = new Map<string, { cursor: string; payload: string }[]>();
	let seed = 7;
	const random = (below: number): number => {
		seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
		return seed % below;
	};
	for (let step = 0; step < 3_000; step++) {
		const channel = channels[random(4)]!;
		nowMs += random(40);
		if (random(200) === 0) {
			store.release(channel);
			all.delete(channel);
			continue;
		}
		const payloads = Array.from({ length: 1 + random(3) }, () => 'x'.repeat(random(900)));
		const cursors = add(store, channel, ...payloads);
		const list = all.get(channel) ?? [];
		payloads.forEach((payload, index) => list.push({ cursor: cursors[index]!, payload }));
		all.set(channel, list);
		expect(store.size.bytes).toBeLessThanOrEqual(60_000);
	}
	let kept = 0;
	for (const [channel, list] of all) {
		const { first } = store.bounds(channel);
		const { events } = store.since(channel, first);
		kept += events.length;
		expect(events.length).toBeLessThanOrEqual(50);
		const newest = list.slice(list.length - events.length);
		expect(events).toEqual(
			newest.map(({ cursor, payload }) => ({ cursor, kind: 'message', topic: 't', payload }))
		);
	}
	expect(store.size.events).toBe(kept);
});
