import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { parseDuration, parseRetryAfter, parseSleep } from '../../src/lib/dev/duration.js';

const NOW = Date.parse('2026-01-01T00:00:00.400Z');

beforeEach(() => {
	vi.useFakeTimers({ now: NOW });
});
afterEach(() => {
	vi.useRealTimers();
});

it('reads durations as the SDK writes them', () => {
	const cases: [string, number | undefined][] = [
		['', 0],
		['1s', 1_000],
		['1w2d3h4m5s', 788_645_000],
		['1.5m', 90_000],
		['250ms', 250],
		['5', undefined],
		['soon', undefined],
		['1s later', undefined]
	];
	for (const [text, ms] of cases) expect(parseDuration(text), text).toBe(ms);
});

it('reads the end of a sleep as a duration or as a date, kept to the second', () => {
	expect(parseSleep('90s')).toBe(90_000);
	expect(parseSleep('2026-01-01T00:00:10.000Z')).toBe(10_000);
	expect(parseSleep('2026-01-01T00:00:00.700Z')).toBe(0);
	expect(parseSleep('2025-01-01T00:00:00.000Z')).toBe(0);
	expect(parseSleep('not a date')).toBeUndefined();
});

it('reads when to try again as seconds or a date, from a second to a day ahead', () => {
	const from = (text: string): number | undefined => {
		const at = parseRetryAfter(text);
		return at === undefined ? undefined : at - NOW;
	};
	expect(from('5')).toBe(4_600);
	expect(from('1')).toBe(600);
	expect(from('999999')).toBe(86_400_000 - 400);
	expect(from('2026-01-01T00:01:00.000Z')).toBe(59_600);
	expect(from('Thu, 01 Jan 2026 00:01:00 GMT')).toBe(59_600);
	expect(from('2020-01-01T00:00:00.000Z')).toBe(600);
	expect(from('sometime')).toBeUndefined();
});
