import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Wheel, type WheelEntry } from '../../src/lib/server/wheel.js';

let wheel: Wheel;
beforeEach(() => {
	vi.useFakeTimers();
	wheel = new Wheel();
});
afterEach(() => void vi.useRealTimers());

/** An entry that notes when it was woken. */
function createEntry(onWake: (entry: WheelEntry) => void = () => {}) {
	const woken: number[] = [];
	const began = performance.now();
	const entry = {
		woken,
		dueStep: undefined as number | undefined,
		wake(nowMs: number) {
			woken.push(nowMs - began);
			onWake(entry);
		}
	};
	return entry;
}

test('an entry is woken once, never early and at most a step late', () => {
	const entries = [0, 1, 49, 50, 51, 120, 15_000].map((delayMs) => ({
		delayMs,
		entry: createEntry()
	}));
	for (const { delayMs, entry } of entries) wheel.add(entry, delayMs);
	vi.advanceTimersByTime(20_000);
	for (const { delayMs, entry } of entries) {
		expect(entry.woken).toHaveLength(1);
		expect(entry.woken[0]).toBeGreaterThanOrEqual(delayMs);
		expect(entry.woken[0]).toBeLessThanOrEqual(delayMs + 100);
	}
});

test('one timer serves all entries, and only while there are any', () => {
	expect(vi.getTimerCount()).toBe(0);
	const entries = Array.from({ length: 1_000 }, () => createEntry());
	entries.forEach((entry, index) => wheel.add(entry, index));
	expect(vi.getTimerCount()).toBe(1);
	expect(wheel.size).toBe(1_000);
	vi.advanceTimersByTime(2_000);
	expect(wheel.size).toBe(0);
	expect(vi.getTimerCount()).toBe(0);
	wheel.add(entries[0]!, 10);
	expect(vi.getTimerCount()).toBe(1);
	wheel.delete(entries[0]!);
	wheel.delete(entries[0]!);
	expect(vi.getTimerCount()).toBe(0);
});

test('an entry that is added again waits for its last moment only', () => {
	const entry = createEntry();
	wheel.add(entry, 100);
	wheel.add(entry, 1_000);
	vi.advanceTimersByTime(900);
	expect(entry.woken).toEqual([]);
	vi.advanceTimersByTime(10_000);
	expect(entry.woken).toHaveLength(1);
});

test('an entry may wait again, or take others away, while it is woken', () => {
	const other = createEntry();
	const entry = createEntry((self) => {
		wheel.delete(other);
		if (entry.woken.length < 3) wheel.add(self, 100);
	});
	wheel.add(entry, 100);
	wheel.add(other, 1_000);
	vi.advanceTimersByTime(5_000);
	expect(other.woken).toEqual([]);
	expect(entry.woken).toHaveLength(3);
	expect(vi.getTimerCount()).toBe(0);
});

test('an entry that takes away all others while it is woken still waits its full time', () => {
	vi.advanceTimersByTime(1);
	const long = createEntry();
	wheel.add(long, 60_000);
	vi.advanceTimersByTime(59_000);
	const victim = createEntry((self) => wheel.add(self, 500));
	const entry = createEntry((self) => {
		wheel.delete(victim);
		wheel.delete(long);
		if (entry.woken.length === 1) wheel.add(self, 10_000);
	});
	wheel.add(victim, 100);
	wheel.add(entry, 100);
	vi.advanceTimersByTime(9_000);
	expect(entry.woken).toHaveLength(1);
	vi.advanceTimersByTime(2_000);
	expect(entry.woken).toHaveLength(2);
	expect(entry.woken[1]! - entry.woken[0]!).toBeGreaterThanOrEqual(10_000);
	expect(vi.getTimerCount()).toBe(0);
});

test('a wheel that was held up wakes what was due, once each', () => {
	const entries = [100, 200, 300].map((delayMs) => {
		const entry = createEntry((self) => wheel.add(self, 1_000));
		wheel.add(entry, delayMs);
		return entry;
	});
	vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 3_600_000);
	vi.advanceTimersByTime(50);
	vi.restoreAllMocks();
	for (const entry of entries) expect(entry.woken).toHaveLength(1);
});

test('a clock that is set back or forth changes nothing', () => {
	const entry = createEntry((self) => wheel.add(self, 1_000));
	wheel.add(entry, 1_000);
	vi.setSystemTime(Date.now() - 3_600_000);
	vi.advanceTimersByTime(1_100);
	expect(entry.woken).toHaveLength(1);
	vi.setSystemTime(Date.now() + 7_200_000);
	vi.advanceTimersByTime(500);
	expect(entry.woken).toHaveLength(1);
	vi.advanceTimersByTime(700);
	expect(entry.woken).toHaveLength(2);
});
