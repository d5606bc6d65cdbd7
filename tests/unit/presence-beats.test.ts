import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MemoryPresenceStore } from '../../src/lib/server/backend/memoryPresence.js';
import { deaf } from '../support/people.js';
import { Presence } from '../../src/lib/server/presence/presence.js';
import type { PresenceChannel } from '../../src/lib/server/presence/rooms.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const place: PresenceChannel = {
	entry: 'demo',
	channel: 'demo',
	definition: { name: 'demo', topics: {} },
	options: {}
};

/** A member whose line can die without a word, as behind a firewall that drops packets. */
function connect(graceMs?: number) {
	const left: string[] = [];
	const options = {
		...(graceMs !== undefined && { graceMs }),
		onLeave: ({ member }: { member: { id: string } }) => void left.push(member.id)
	};
	const store = new MemoryPresenceStore();
	const presence = new Presence({
		store,
		owner: 'me',
		isAway: () => false,
		isShared: false,
		isPerStream: false,
		heartbeatMs: 5_000,
		callbackTimeoutMs: 1_000,
		report: ({ message }) => message,
		optionsOf: () => options,
		passOn() {}
	});
	const frames: string[] = [];
	const attendance = presence.attend({ ...place, options }, { id: 'alice', data: {} }, 'alice', {
		...deaf,
		pushSync: (chunks) => {
			for (const chunk of chunks) frames.push(new TextDecoder().decode(chunk));
		},
		lost: () => attendance.end(false)
	});
	const stream = (): string => /"stream":"([^"]+)"/.exec(frames.join(''))![1]!;
	return { store, presence, left, stream };
}

test.each([undefined, 0, 60_000])(
	'a member without a sign of life leaves after 90 s (grace %s)',
	async (graceMs) => {
		const { left, store } = connect(graceMs);
		await vi.advanceTimersByTimeAsync(59_000);
		expect(store.size.members).toBe(1);
		await vi.advanceTimersByTimeAsync(graceMs === 60_000 ? 63_000 : 33_000);
		expect(left).toEqual(['alice']);
		expect(store.size.members).toBe(0);
	}
);

test('a sign of life every half a minute keeps it, also if one is lost', async () => {
	const { presence, left, stream } = connect();
	for (let minute = 0; minute < 10; minute++) {
		await vi.advanceTimersByTimeAsync(60_000);
		await presence.take({ stream: stream() }, 'alice');
	}
	expect(left).toEqual([]);
	// A sign of life of somebody else does not count.
	for (let half = 0; half < 4; half++) {
		await expect(presence.take({ stream: stream() }, 'bob')).rejects.toMatchObject({ status: 403 });
		await vi.advanceTimersByTimeAsync(23_000);
	}
	expect(left).toEqual(['alice']);
	expect(presence.size).toEqual({ rooms: 0, streams: 0 });
	expect(vi.getTimerCount()).toBe(0);
});

test('bursts are coalesced: at most 20 frames per second, one encoding for all readers', async () => {
	const store = new MemoryPresenceStore();
	const presence = new Presence({
		store,
		owner: 'me',
		isAway: () => false,
		isShared: false,
		isPerStream: false,
		heartbeatMs: 5_000,
		callbackTimeoutMs: 1_000,
		report: ({ message }) => message,
		optionsOf: () => ({}),
		passOn() {}
	});
	const chunks: Uint8Array[][] = [[], []];
	for (const own of chunks) {
		presence.attend(place, null, undefined, {
			...deaf,
			push: (chunk) => void own.push(chunk),
			lost() {}
		});
	}
	await vi.advanceTimersByTimeAsync(100);
	for (const own of chunks) own.length = 0;
	let bytes = 0;
	for (let n = 0; n < 1_000; n++) {
		const { end } = presence.attend(place, { id: `m${n}`, data: {} }, undefined, {
			...deaf,
			push: (chunk) => void (bytes += chunk.length),
			lost() {}
		});
		await vi.advanceTimersByTimeAsync(1);
		if (n % 2 === 0) end(true);
	}
	await vi.advanceTimersByTimeAsync(100);
	const [first, second] = chunks as [Uint8Array[], Uint8Array[]];
	expect(first.length).toBeGreaterThan(10);
	expect(first.length).toBeLessThanOrEqual(24);
	expect(first.map((chunk, n) => chunk === second[n])).not.toContain(false);
	expect(bytes).toBeGreaterThan(0);
});
