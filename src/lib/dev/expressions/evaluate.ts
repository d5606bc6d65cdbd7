import type { ASTNode } from '@marcbachmann/cel-js';
import { FUNCTIONS, METHODS } from './functions.js';
import type { CelFunction } from './functions.js';
import { BINARY, negate } from './operators.js';
import { isTruthy, kindOf, MISSING } from './values.js';

/** Values by the names of variables. */
export type Scope = Readonly<Record<string, unknown>>;

/**
 * The value of an expression. Never throws: a part that cannot be evaluated is `MISSING`, and operators and
 * functions treat that as Inngest does.
 */
export function evaluate(node: ASTNode, scope: Scope): unknown {
	switch (node.op) {
		case 'value':
			return literal(node.args);
		case 'id':
			return own(scope, node.args);
		case '.':
			return own(evaluate(node.args[0], scope), node.args[1]);
		case '[]':
			return index(evaluate(node.args[0], scope), evaluate(node.args[1], scope));
		case 'list':
			return node.args.map((item) => evaluate(item, scope));
		case 'map':
			return Object.fromEntries(
				node.args.map(([key, value]) => [String(evaluate(key, scope)), evaluate(value, scope)])
			);
		case '&&':
		case '||':
			return logical(node.op, evaluate(node.args[0], scope), () => evaluate(node.args[1], scope));
		case '?:':
			return evaluate(node.args[isTruthy(evaluate(node.args[0], scope)) ? 1 : 2], scope);
		case '!_': {
			const value = evaluate(node.args, scope);
			return value === MISSING ? false : typeof value === 'boolean' ? !value : MISSING;
		}
		case '-_':
			return negate(evaluate(node.args, scope));
		case 'call': {
			const [name, args] = node.args;
			if (name === 'has') return isPresent(args[0]!, scope);
			return call(FUNCTIONS[name], args, scope);
		}
		case 'rcall': {
			const [name, receiver, args] = node.args;
			const macro = MACROS[name];
			if (macro && args.length > 1) return iterate(macro, evaluate(receiver, scope), args, scope);
			return call(METHODS[name], [receiver, ...args], scope);
		}
		default: {
			const [left, right] = node.args as [ASTNode, ASTNode];
			return BINARY[node.op]!(evaluate(left, scope), evaluate(right, scope));
		}
	}
}

/** The int in a literal such as `5u`, else the literal itself. */
function literal(value: unknown): unknown {
	const isUnsigned = kindOf(value) === 'map';
	return isUnsigned ? BigInt(String((value as { value: bigint }).value)) : value;
}

function own(value: unknown, key: string): unknown {
	if (kindOf(value) !== 'map' || !Object.hasOwn(value as object, key)) return MISSING;
	return (value as Record<string, unknown>)[key] ?? null;
}

function index(value: unknown, key: unknown): unknown {
	if (!Array.isArray(value)) return typeof key === 'string' ? own(value, key) : MISSING;
	const at = typeof key === 'bigint' || typeof key === 'number' ? Number(key) : NaN;
	return Number.isInteger(at) && at >= 0 && at < value.length
		? ((value[at] as unknown) ?? null)
		: MISSING;
}

/** A boolean if both are booleans, otherwise the operand that decides, as in JavaScript. */
function logical(operator: '&&' | '||', left: unknown, right: () => unknown): unknown {
	return isTruthy(left) === (operator === '||') ? left : right();
}

/** `has(x.y)`. A missing field counts as missing, not as `false`: so Inngest's `!has(x.y)` is never true. */
function isPresent(field: ASTNode, scope: Scope): unknown {
	return evaluate(field, scope) === MISSING ? MISSING : true;
}

function call(fn: CelFunction | undefined, args: readonly ASTNode[], scope: Scope): unknown {
	if (!fn) return MISSING;
	const values = args.map((arg) => evaluate(arg, scope));
	if (values.includes(MISSING)) return fn.whenMissing ?? false;
	const fits = fn.takes.every(
		(kinds, at) => kinds.length === 0 || kinds.includes(kindOf(values[at]))
	);
	return fits ? fn.call(...(values as never[])) : MISSING;
}

type Macro = (items: unknown[], evaluate: (item: unknown, arg?: number) => unknown) => unknown;

/** Macros over a list: `list.exists(item, condition)`. */
const MACROS: Record<string, Macro> = {
	all: (items, test) => items.every((item) => isTruthy(test(item))),
	exists: (items, test) => items.some((item) => isTruthy(test(item))),
	exists_one: (items, test) => items.filter((item) => isTruthy(test(item))).length === 1,
	filter: (items, test) => items.filter((item) => isTruthy(test(item))),
	map: (items, change) => items.map((item) => change(item))
};

function iterate(macro: Macro, range: unknown, args: readonly ASTNode[], scope: Scope): unknown {
	const items = Array.isArray(range)
		? range
		: kindOf(range) === 'map'
			? Object.keys(range as object)
			: undefined;
	const [variable, ...rest] = args;
	if (!items || variable?.op !== 'id') return MISSING;
	const run = (item: unknown, arg: ASTNode): unknown =>
		evaluate(arg, { ...scope, [variable.args]: item ?? null });
	// `map` may have a condition before the expression for each item.
	const condition = rest.length > 1 ? rest[0] : undefined;
	const kept = condition ? items.filter((item) => isTruthy(run(item, condition))) : items;
	return macro(kept, (item) => run(item, rest.at(-1)!));
}
