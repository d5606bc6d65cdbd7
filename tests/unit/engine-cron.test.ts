import { expect, it } from 'vitest';
import { CronError, CronSchedule } from '../../src/lib/dev/cron.js';

// A Friday.
const NOW = Date.parse('2026-11-27T10:30:30Z');

it.each([
	['* * * * *', '2026-11-27T10:31:00.000Z'],
	['*/15 * * * *', '2026-11-27T10:45:00.000Z'],
	['7/20 * * * *', '2026-11-27T10:47:00.000Z'],
	['0,30 9-17 * * *', '2026-11-27T11:00:00.000Z'],
	['0 9 * * MON-fri', '2026-11-30T09:00:00.000Z'],
	['0 0 1 jan ?', '2027-01-01T00:00:00.000Z'],
	['*/70 * * * *', '2026-11-27T11:00:00.000Z'],
	['10-20/30 * * * *', '2026-11-27T11:10:00.000Z'],
	['0 0 */2 * ?', '2026-11-29T00:00:00.000Z'],
	['0 12 * * 0', '2026-11-29T12:00:00.000Z'],
	// Either day fits where both are given.
	['0 0 15 * sat', '2026-11-28T00:00:00.000Z'],
	['TZ=America/New_York 0 9 * * *', '2026-11-27T14:00:00.000Z'],
	['CRON_TZ=Asia/Kolkata 0 9 * * *', '2026-11-28T03:30:00.000Z'],
	['  0   11 * * *  ', '2026-11-27T11:00:00.000Z'],
	['0 0 31 2 *', undefined]
])('"%s" is due at %s', (text, due) => {
	const next = new CronSchedule(text).next(NOW);
	expect(next === undefined ? next : new Date(next).toISOString()).toBe(due);
});

it('goes by the clock of its time zone, also when that changes', () => {
	const schedule = new CronSchedule('TZ=Europe/Berlin 0 9 * * *');
	const before = schedule.next(Date.parse('2026-10-24T00:00:00Z'))!;
	expect(new Date(before).toISOString()).toBe('2026-10-24T07:00:00.000Z');
	expect(new Date(schedule.next(before)!).toISOString()).toBe('2026-10-25T08:00:00.000Z');
});

it.each([
	'',
	'not a cron',
	'* * * *',
	'* * * * * *',
	'@daily',
	'@every 5m',
	'60 * * * *',
	'* 24 * * *',
	'* * 0 * *',
	'* * * 13 *',
	'* * * * 7',
	'* * L * *',
	'* * * * 1#2',
	'* * 1W * *',
	'*/0 * * * *',
	'1/2/3 * * * *',
	'5-1 * * * *',
	'1-2-3 * * * *',
	'1,,2 * * * *',
	'-5 * * * *',
	'TZ=No/Where * * * * *',
	`${'0,'.repeat(200)}0 * * * *`
])('refuses "%s", as Inngest does', (text) => {
	expect(() => new CronSchedule(text)).toThrow(CronError);
});
