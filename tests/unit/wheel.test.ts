import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Wheel, type WheelEntry } from '../../src/lib/server/runtime/wheel.js';

let wheel: Wheel;
beforeEach(() => {
	vi.useFakeTimers();
	wheel = new Wheel();
});
afterEach(() => {
	vi.useRealTimers();
});

/** An entry that writes down when it is woken, in milliseconds from its creation. */
function createEntry(onWake: (entry: WheelEntry) => void = () => {}): WheelEntry & {
	woken: number[];
} {
	const startMs = performance.now();
	const entry = {
		woken: [] as number[],
		wake(nowMs: number): void {
			entry.woken.push(nowMs - startMs);
			onWake(entry);
		}
	};
	return entry;
}

test('an entry is woken once, never early and at most a step late', () => {
	for (const delayMs of [0, 1, 49, 50, 51, 999, 15_000]) {
		const entry = createEntry();
		wheel.add(entry, delayMs);
		vi.advanceTimersByTime(20_000);
		expect(entry.woken).toHaveLength(1);
		expect(entry.woken[0]).toBeGreaterThanOrEqual(delayMs);
		expect(entry.woken[0]).toBeLessThanOrEqual(delayMs + 100);
	}
});

test('any number of entries share one timer, which runs only while there are some', () => {
	const entries = Array.from({ length: 1_000 }, () => createEntry());
	for (const [index, entry] of entries.entries()) wheel.add(entry, index);
	expect(vi.getTimerCount()).toBe(1);
	expect(wheel.size).toBe(1_000);
	vi.advanceTimersByTime(500);
	expect(vi.getTimerCount()).toBe(1);
	vi.advanceTimersByTime(1_000);
	expect(entries.every(({ woken }) => woken.length === 1)).toBe(true);
	expect(vi.getTimerCount()).toBe(0);
	expect(wheel.size).toBe(0);
});

test('entries that are spread over time are woken in slices', () => {
	const entries = Array.from({ length: 10_000 }, () => createEntry());
	for (const [index, entry] of entries.entries())
		wheel.add(entry, 13_500 + (index * 3_000) / 10_000);
	let before = 0;
	for (let step = 0; step < 340; step++) {
		vi.advanceTimersByTime(50);
		const woken = entries.filter(({ woken }) => woken.length > 0).length;
		expect(woken - before).toBeLessThan(400);
		before = woken;
	}
	expect(before).toBe(10_000);
});

test('an entry that is taken away is not woken, and the last one takes the timer with it', () => {
	const [kept, gone] = [createEntry(), createEntry()];
	wheel.add(kept, 100);
	wheel.add(gone, 100);
	wheel.delete(gone);
	wheel.delete(gone);
	vi.advanceTimersByTime(200);
	expect(kept.woken).toHaveLength(1);
	expect(gone.woken).toEqual([]);
	wheel.add(kept, 100);
	wheel.delete(kept);
	expect(vi.getTimerCount()).toBe(0);
});

test('an entry that is added again waits for the new moment only', () => {
	const entry = createEntry();
	wheel.add(entry, 100);
	wheel.add(entry, 1_000);
	expect(wheel.size).toBe(1);
	vi.advanceTimersByTime(900);
	expect(entry.woken).toEqual([]);
	vi.advanceTimersByTime(200);
	expect(entry.woken).toHaveLength(1);
});

test('an entry may add itself as it is woken', () => {
	const entry = createEntry((self) => wheel.add(self, 100));
	wheel.add(entry, 100);
	vi.advanceTimersByTime(1_000);
	expect(entry.woken.length).toBeGreaterThanOrEqual(6);
	expect(entry.woken.length).toBeLessThanOrEqual(10);
	wheel.delete(entry);
	expect(vi.getTimerCount()).toBe(0);
});

test('an entry that another one takes away in the same moment is not woken', () => {
	const second = createEntry();
	const first = createEntry(() => wheel.delete(second));
	wheel.add(first, 100);
	wheel.add(second, 100);
	vi.advanceTimersByTime(1_000);
	expect(first.woken).toHaveLength(1);
	expect(second.woken).toEqual([]);
});

test('an entry that another one puts off in the same moment is woken later', () => {
	const second = createEntry();
	const first = createEntry(() => wheel.add(second, 500));
	wheel.add(first, 100);
	wheel.add(second, 100);
	vi.advanceTimersByTime(1_000);
	expect(second.woken).toHaveLength(1);
	expect(second.woken[0]).toBeGreaterThanOrEqual(600);
});

test('a fault of one entry keeps none of the others from being woken', () => {
	const [before, after, later] = [createEntry(), createEntry(), createEntry()];
	const broken = createEntry(() => {
		throw new Error('a fault');
	});
	for (const entry of [before, broken, after]) wheel.add(entry, 100);
	wheel.add(later, 200);
	const logged = vi.spyOn(console, 'error').mockReturnValue();
	vi.advanceTimersByTime(1_000);
	expect(logged).toHaveBeenCalledOnce();
	logged.mockRestore();
	expect([before, broken, after, later].map(({ woken }) => woken.length)).toEqual([1, 1, 1, 1]);
	expect(vi.getTimerCount()).toBe(0);
});
