import {
	compare,
	Duration,
	isEqual,
	isInt64,
	kindOf,
	MISSING,
	Timestamp,
	toText
} from './values.js';
import type { Kind } from './values.js';

type Binary = (a: unknown, b: unknown) => unknown;

/** Operators with two operands, with Inngest's results if one of them is missing. */
export const BINARY: Record<string, Binary> = {
	'==': (a, b) => (anyMissing(a, b) ? anyNull(a, b) : isEqual(a, b)),
	'!=': (a, b) => (anyMissing(a, b) ? !anyNull(a, b) : !isEqual(a, b)),
	'<': ordered((order) => order < 0, true),
	'<=': ordered((order) => order <= 0, true),
	'>': ordered((order) => order > 0, false),
	'>=': ordered((order) => order >= 0, false),
	'+': add,
	'-': arithmetic(subtract),
	'*': arithmetic((a, b) =>
		calculate(
			a,
			b,
			(x, y) => x * y,
			(x, y) => x * y
		)
	),
	'/': arithmetic(divide),
	'%': arithmetic((a, b) =>
		kindOf(a) === 'int' && b !== 0n ? calculate(a, b, (x, y) => x % y) : MISSING
	),
	in: (a, b) => (anyMissing(a, b) ? false : contains(b, a))
};

/** The negative of a number. */
export function negate(value: unknown): unknown {
	if (value === MISSING) return false;
	if (typeof value === 'bigint') return fit(-value);
	return typeof value === 'number' ? -value : MISSING;
}

function anyMissing(a: unknown, b: unknown): boolean {
	return a === MISSING || b === MISSING;
}

function anyNull(a: unknown, b: unknown): boolean {
	return a === null || b === null;
}

/** A comparison by order. A missing value comes before every other; `null` is the other's zero. */
function ordered(holds: (order: number) => boolean, missingFirst: boolean): Binary {
	return (a, b) => {
		if (a === MISSING) return missingFirst;
		if (b === MISSING) return !missingFirst;
		const order = compare(a ?? zero(b), b ?? zero(a));
		return order === undefined ? MISSING : holds(order);
	};
}

function zero(other: unknown): unknown {
	const zeros: Partial<Record<Kind, unknown>> = { int: 0n, double: 0, string: '' };
	return zeros[kindOf(other)] ?? null;
}

function add(a: unknown, b: unknown): unknown {
	if (a === MISSING) return b === MISSING ? false : b;
	if (b === MISSING) return a;
	const [left, right] = [kindOf(a), kindOf(b)];
	if (a instanceof Timestamp && b instanceof Duration) return new Timestamp(a.ms + b.ms);
	if (a instanceof Duration && b instanceof Timestamp) return new Timestamp(a.ms + b.ms);
	if (left !== right) return toText(a) + toText(b);
	switch (left) {
		case 'string':
			return (a as string) + (b as string);
		case 'list':
			return [...(a as unknown[]), ...(b as unknown[])];
		case 'bytes':
			return Buffer.concat([a as Uint8Array, b as Uint8Array]);
		case 'duration':
			return new Duration((a as Duration).ms + (b as Duration).ms);
		default:
			return calculate(
				a,
				b,
				(x, y) => x + y,
				(x, y) => x + y
			);
	}
}

function subtract(a: unknown, b: unknown): unknown {
	if (a instanceof Timestamp && b instanceof Timestamp) return new Duration(a.ms - b.ms);
	if (a instanceof Timestamp && b instanceof Duration) return new Timestamp(a.ms - b.ms);
	if (a instanceof Duration && b instanceof Duration) return new Duration(a.ms - b.ms);
	return calculate(
		a,
		b,
		(x, y) => x - y,
		(x, y) => x - y
	);
}

function divide(a: unknown, b: unknown): unknown {
	if (b === 0n) return MISSING;
	return calculate(
		a,
		b,
		(x, y) => x / y,
		(x, y) => x / y
	);
}

/** For present operands only; if one is missing, Inngest returns `false`. */
function arithmetic(operation: Binary): Binary {
	return (a, b) => (anyMissing(a, b) ? false : operation(a, b));
}

/** Calculates with two ints or two doubles. */
function calculate(
	a: unknown,
	b: unknown,
	ints: (x: bigint, y: bigint) => bigint,
	doubles?: (x: number, y: number) => number
): unknown {
	if (typeof a === 'bigint' && typeof b === 'bigint') return fit(ints(a, b));
	if (typeof a === 'number' && typeof b === 'number' && doubles) return doubles(a, b);
	return MISSING;
}

function fit(value: bigint): unknown {
	return isInt64(value) ? value : MISSING;
}

function contains(container: unknown, value: unknown): unknown {
	if (Array.isArray(container)) return container.some((item) => isEqual(item, value));
	if (kindOf(container) === 'map') return Object.hasOwn(container as object, toText(value));
	return MISSING;
}
