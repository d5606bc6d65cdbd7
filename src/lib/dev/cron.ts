import { Cron } from 'croner';

/** Why a text is not a cron schedule. */
export class CronError extends Error {}

interface Field {
	name: string;
	min: number;
	max: number;
	/** Names of values, from `min` on. */
	names?: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const FIELDS: readonly Field[] = [
	{ name: 'minute', min: 0, max: 59 },
	{ name: 'hour', min: 0, max: 23 },
	{ name: 'day of the month', min: 1, max: 31 },
	{ name: 'month', min: 1, max: 12, names: MONTHS },
	{ name: 'day of the week', min: 0, max: 6, names: DAYS }
];
const MAX_LENGTH = 255;

/**
 * When a cron schedule is due: five fields, optionally after a time zone (`TZ=Europe/Paris`); otherwise in
 * UTC. Accepts exactly what Inngest accepts: no seconds, no `@daily`, no `L`, and Sunday is only 0.
 */
export class CronSchedule {
	readonly text: string;
	readonly #cron: Cron;

	/** @throws {CronError} when Inngest would refuse the schedule. */
	constructor(text: string) {
		if (text.length > MAX_LENGTH) throw new CronError(`it is longer than ${MAX_LENGTH} characters`);
		const [, timezone = 'UTC', rest = ''] = /^(?:(?:CRON_)?TZ=(\S+)\s+)?(.*)$/s.exec(text) ?? [];
		const parts = rest.trim().split(/\s+/);
		if (parts.length !== FIELDS.length) {
			throw new CronError(
				'it must have five fields: minute, hour, day of the month, month, day of the week'
			);
		}
		const pattern = FIELDS.map((field, at) => readField(field, parts[at]!)).join(' ');
		this.text = text;
		try {
			this.#cron = new Cron(pattern, { mode: '5-part', timezone });
			this.#cron.nextRun();
		} catch {
			throw new CronError(`"${timezone}" is not a time zone`);
		}
	}

	/** The first time after `timeMs`, in milliseconds since the epoch; `undefined` if there is no such time. */
	next(timeMs: number): number | undefined {
		return this.#cron.nextRun(new Date(timeMs))?.getTime();
	}
}

/** A field with all names and open ranges spelled out. */
function readField(field: Field, text: string): string {
	return text
		.split(',')
		.map((item) => readItem(field, item))
		.join(',');
}

function readItem(field: Field, item: string): string {
	const [range = '', step, ...others] = item.toLowerCase().split('/');
	const invalid = new CronError(`"${item}" is not a ${field.name}`);
	if (others.length > 0 || (step !== undefined && !/^[1-9]\d*$/.test(step))) throw invalid;
	if ((range === '*' || range === '?') && step === undefined) return '*';
	const [from, to, ...rest] = /^[*?]$/.test(range)
		? [field.min, field.max]
		: range.split('-').map((value) => readValue(field, value));
	if (from === undefined || rest.length > 0 || Number.isNaN(from) || Number.isNaN(to)) {
		throw invalid;
	}
	// `5/15` means from 5 to the end.
	const last = to ?? (step === undefined ? from : field.max);
	if (from > last) throw invalid;
	if (step === undefined) return from === last ? String(from) : `${from}-${last}`;
	return Number(step) > last - from ? String(from) : `${from}-${last}/${step}`;
}

function readValue({ min, max, names }: Field, text: string): number {
	const named = names?.indexOf(text) ?? -1;
	const value = named >= 0 ? named + min : /^\d+$/.test(text) ? Number(text) : NaN;
	return value >= min && value <= max ? value : NaN;
}
