import { parseDuration } from '../duration.js';
import { Duration, isInt64, kindOf, MISSING, Timestamp, toText } from './values.js';
import type { Kind } from './values.js';

/** A function of expressions. */
export interface CelFunction {
	/** Types of the arguments; the first is that of a method's receiver. */
	takes: readonly (readonly Kind[])[];
	gives: Kind;
	/** Result if an argument is missing. */
	whenMissing?: unknown;
	call(...args: never[]): unknown;
}

const ANY: readonly Kind[] = [];
const STRING: readonly Kind[] = ['string'];
const SIZED: readonly Kind[] = ['string', 'bytes', 'list', 'map'];

const size: CelFunction = {
	takes: [SIZED],
	gives: 'int',
	whenMissing: 0n,
	call: (value: string | Uint8Array | unknown[] | object) => {
		if (typeof value === 'string') return BigInt([...value].length);
		const { length } =
			Array.isArray(value) || value instanceof Uint8Array ? value : Object.keys(value);
		return BigInt(length);
	}
};

const matches: CelFunction = {
	takes: [STRING, STRING],
	gives: 'bool',
	call: (text: string, pattern: string) => {
		// Go writes flags into the pattern.
		const [, flags = '', rest = ''] = /^(?:\(\?([ims]+)\))?(.*)$/s.exec(pattern) ?? [];
		return attempt(() => new RegExp(rest, `u${flags}`).test(text));
	}
};

const text = (call: (text: string, part: string) => boolean): CelFunction => ({
	takes: [STRING, STRING],
	gives: 'bool',
	call
});

/** A part of a point in time, in UTC. */
const part = (read: (date: Date) => number): CelFunction => ({
	takes: [['timestamp', 'duration']],
	gives: 'int',
	call: ({ ms }: Timestamp) => BigInt(read(new Date(ms)))
});

/** Methods, by their names. */
export const METHODS: Record<string, CelFunction> = {
	size,
	matches,
	contains: text((text, part) => text.includes(part)),
	startsWith: text((text, part) => text.startsWith(part)),
	endsWith: text((text, part) => text.endsWith(part)),
	getFullYear: part((date) => date.getUTCFullYear()),
	getMonth: part((date) => date.getUTCMonth()),
	getDate: part((date) => date.getUTCDate()),
	getDayOfMonth: part((date) => date.getUTCDate() - 1),
	getDayOfWeek: part((date) => date.getUTCDay()),
	getHours: part((date) => date.getUTCHours()),
	getMinutes: part((date) => date.getUTCMinutes()),
	getSeconds: part((date) => date.getUTCSeconds())
};

/** Functions, by their names: those of CEL and those that Inngest adds. */
export const FUNCTIONS: Record<string, CelFunction> = {
	size,
	matches,
	dyn: { takes: [ANY], gives: 'dyn', call: (value: unknown) => value },
	int: { takes: [ANY], gives: 'int', call: toInt },
	uint: { takes: [ANY], gives: 'int', call: (value: unknown) => nonNegative(toInt(value)) },
	double: { takes: [ANY], gives: 'double', call: toDouble },
	string: { takes: [ANY], gives: 'string', call: toText },
	bool: {
		takes: [['bool', 'string']],
		gives: 'bool',
		call: (value: unknown) =>
			String(value) === 'true' || (String(value) === 'false' ? false : MISSING)
	},
	timestamp: { takes: [ANY], gives: 'timestamp', call: toTimestamp },
	duration: {
		takes: [['string', 'duration']],
		gives: 'duration',
		call: (value: string | Duration) => (value instanceof Duration ? value : toDuration(value))
	},
	date: { takes: [ANY], gives: 'timestamp', call: toTimestamp },
	now: { takes: [], gives: 'timestamp', call: () => new Timestamp(Date.now()) },
	now_plus: { takes: [STRING], gives: 'timestamp', call: (text: string) => fromNow(text, 1) },
	now_minus: { takes: [STRING], gives: 'timestamp', call: (text: string) => fromNow(text, -1) },
	lowercase: { takes: [STRING], gives: 'string', call: (text: string) => text.toLowerCase() },
	uppercase: { takes: [STRING], gives: 'string', call: (text: string) => text.toUpperCase() },
	b64decode: {
		takes: [STRING],
		gives: 'string',
		call: (text: string) => Buffer.from(text, 'base64').toString()
	},
	json_parse: { takes: [STRING], gives: 'dyn', call: parseObject }
};

/** Functions of CEL that the embedded engine does not have. */
export const UNSUPPORTED_FUNCTIONS = new Set(['bytes', 'type', 'getDayOfYear', 'getMilliseconds']);

function attempt(call: () => unknown): unknown {
	try {
		return call();
	} catch {
		return MISSING;
	}
}

function toInt(value: unknown): unknown {
	if (value instanceof Timestamp) return BigInt(Math.floor(value.ms / 1_000));
	if (kindOf(value) === 'double') value = Math.trunc(value as number);
	else if (kindOf(value) === 'string' && !/^-?\d+$/.test(value as string)) return MISSING;
	const int = attempt(() => BigInt(value as string));
	return typeof int === 'bigint' && typeof value !== 'boolean' && isInt64(int) ? int : MISSING;
}

function nonNegative(value: unknown): unknown {
	return typeof value === 'bigint' && value >= 0n ? value : MISSING;
}

function toDouble(value: unknown): unknown {
	if (!['int', 'double', 'string'].includes(kindOf(value)) || value === '') return MISSING;
	const number = Number(value);
	return Number.isNaN(number) ? MISSING : number;
}

/** A date as text, or in seconds or milliseconds since the epoch. */
function toTimestamp(value: unknown): unknown {
	if (value instanceof Timestamp) return value;
	if (typeof value === 'bigint') {
		const number = Number(value);
		return number < 946_684_800
			? MISSING
			: new Timestamp(number < 9_999_999_999 ? number * 1_000 : number);
	}
	// A date without a zone is in UTC.
	const zoned = /T[\d:.]+$/.test(String(value)) ? `${String(value)}Z` : value;
	const ms = typeof zoned === 'string' ? Date.parse(zoned) : NaN;
	return Number.isNaN(ms) ? MISSING : new Timestamp(ms);
}

function toDuration(text: string): unknown {
	const sign = text.startsWith('-') ? -1 : 1;
	const ms = parseDuration(sign < 0 ? text.slice(1) : text);
	return ms === undefined || text === '' ? MISSING : new Duration(sign * ms);
}

function fromNow(text: string, sign: 1 | -1): unknown {
	const duration = toDuration(text);
	return duration instanceof Duration ? new Timestamp(Date.now() + sign * duration.ms) : MISSING;
}

function parseObject(text: string): unknown {
	const value = attempt(() => JSON.parse(text) as unknown);
	return kindOf(value) === 'map' ? value : {};
}
