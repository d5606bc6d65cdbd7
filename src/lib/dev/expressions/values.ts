/**
 * The value of a missing field, or of an operation that does not fit its operands. Inngest evaluates both in
 * the same way, much like `null`.
 */
export const MISSING = Symbol('missing');

/** A point in time. */
export class Timestamp {
	readonly ms: number;

	constructor(ms: number) {
		this.ms = ms;
	}
}

/** A length of time. */
export class Duration {
	readonly ms: number;

	constructor(ms: number) {
		this.ms = ms;
	}
}

/** Types of values. `dyn` is a type that is known only when the expression is evaluated. */
export type Kind =
	| 'dyn'
	| 'missing'
	| 'null'
	| 'bool'
	| 'int'
	| 'double'
	| 'string'
	| 'bytes'
	| 'timestamp'
	| 'duration'
	| 'list'
	| 'map';

/** The type of a value. Numbers of events are doubles; only an expression itself has ints. */
export function kindOf(value: unknown): Kind {
	if (value === MISSING || value === undefined) return 'missing';
	if (value === null) return 'null';
	if (Array.isArray(value)) return 'list';
	if (value instanceof Uint8Array) return 'bytes';
	if (value instanceof Timestamp) return 'timestamp';
	if (value instanceof Duration) return 'duration';
	switch (typeof value) {
		case 'boolean':
			return 'bool';
		case 'bigint':
			return 'int';
		case 'number':
			return 'double';
		case 'string':
			return 'string';
		default:
			return 'map';
	}
}

/** Whether a value counts as true, as in JavaScript except that every number but 0 does. */
export function isTruthy(value: unknown): boolean {
	return value !== MISSING && (Boolean(value) || Number.isNaN(value));
}

/** Whether two values are equal; values of different types are not, except for numbers. */
export function isEqual(a: unknown, b: unknown): boolean {
	const kind = kindOf(a);
	if (isNumber(kind) && isNumber(kindOf(b))) return (a as number) == (b as number);
	if (kind !== kindOf(b)) return false;
	switch (kind) {
		case 'list': {
			const [left, right] = [a as unknown[], b as unknown[]];
			return left.length === right.length && left.every((item, at) => isEqual(item, right[at]));
		}
		case 'map': {
			const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
			const keys = Object.keys(left);
			return (
				keys.length === Object.keys(right).length &&
				keys.every((key) => Object.hasOwn(right, key) && isEqual(left[key], right[key]))
			);
		}
		case 'bytes':
			return Buffer.compare(a as Uint8Array, b as Uint8Array) === 0;
		case 'timestamp':
		case 'duration':
			return (a as Timestamp).ms === (b as Timestamp).ms;
		default:
			return a === b;
	}
}

/** Negative, zero or positive as `a` is before, at or after `b`; `undefined` if there is no order. */
export function compare(a: unknown, b: unknown): number | undefined {
	const kind = kindOf(a);
	if (isNumber(kind) && isNumber(kindOf(b))) {
		if (Number.isNaN(a) || Number.isNaN(b)) return undefined;
		return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0;
	}
	if (kind !== kindOf(b)) return undefined;
	switch (kind) {
		case 'string':
			return Buffer.compare(Buffer.from(a as string), Buffer.from(b as string));
		case 'bytes':
			return Buffer.compare(a as Uint8Array, b as Uint8Array);
		case 'bool':
			return Number(a) - Number(b);
		case 'timestamp':
		case 'duration':
			return (a as Timestamp).ms - (b as Timestamp).ms;
		default:
			return undefined;
	}
}

/** A value as text, as Go prints it: `+` joins values of different types this way. */
export function toText(value: unknown): string {
	switch (kindOf(value)) {
		case 'null':
			return 'NULL_VALUE';
		case 'list':
			return `[${(value as unknown[]).map(toText).join(' ')}]`;
		case 'map': {
			const entries = Object.entries(value as object).sort(([a], [b]) => (a < b ? -1 : 1));
			return `map[${entries.map(([key, item]) => `${key}:${toText(item)}`).join(' ')}]`;
		}
		case 'bytes':
			return Buffer.from(value as Uint8Array).toString();
		case 'timestamp':
			return new Date((value as Timestamp).ms).toISOString().replace(/\.000Z$/, 'Z');
		case 'duration':
			return `${(value as Duration).ms / 1_000}s`;
		default:
			return String(value);
	}
}

export function isNumber(kind: Kind): boolean {
	return kind === 'int' || kind === 'double';
}

const MAX_INT = 2n ** 63n;

/** Whether an int fits into 64 bits. */
export function isInt64(value: bigint): boolean {
	return value >= -MAX_INT && value < MAX_INT;
}
