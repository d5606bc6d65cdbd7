import type { ASTNode } from '@marcbachmann/cel-js';
import { FUNCTIONS, METHODS, UNSUPPORTED_FUNCTIONS } from './functions.js';
import type { CelFunction } from './functions.js';
import { isInt64, kindOf } from './values.js';
import type { Kind } from './values.js';

/** Something is not a valid expression. */
export class ExpressionError extends Error {}

/** What an expression may use: with `logic`, no functions, no arithmetic, and no `exists()` and similar. */
export type Policy = 'all' | 'logic';

const VARIABLES = ['event', 'async', 'vars'];
const ITERATIONS: Record<string, { args: number[]; gives: Kind }> = {
	all: { args: [2], gives: 'bool' },
	exists: { args: [2], gives: 'bool' },
	exists_one: { args: [2], gives: 'bool' },
	filter: { args: [2], gives: 'list' },
	map: { args: [2, 3], gives: 'list' }
};
const CONVERSIONS = ['int', 'uint', 'double'];

/**
 * Checks names, the number of arguments and types, as far as they are known without data.
 *
 * @returns the type of the expression.
 * @throws {ExpressionError} when something is wrong, with a text that says what.
 */
export function check(
	node: ASTNode,
	policy: Policy,
	variables: readonly string[] = VARIABLES
): Kind {
	const kind = (part: ASTNode): Kind => check(part, policy, variables);
	const expect = (part: ASTNode, ...allowed: Kind[]): void => {
		const found = kind(part);
		if (found !== 'dyn' && !allowed.includes(found)) {
			throw new ExpressionError(`"${source(part)}" is of type ${found}, which does not fit here`);
		}
	};
	switch (node.op) {
		case 'value':
			return literalKind(node);
		case 'id':
			if (!variables.includes(node.args)) throw unknown(`variable ${node.args}`);
			return VARIABLES.includes(node.args) ? 'map' : 'dyn';
		case '.':
			expect(node.args[0], 'map');
			return 'dyn';
		case '[]':
			expect(node.args[0], 'map', 'list');
			kind(node.args[1]);
			return 'dyn';
		case 'list':
			node.args.forEach(kind);
			return 'list';
		case 'map':
			node.args.flat().forEach(kind);
			return 'map';
		case '&&':
		case '||':
			node.args.forEach((part) => expect(part, 'bool'));
			return 'dyn';
		case '!_':
			expect(node.args, 'bool');
			return 'bool';
		case '-_':
			if (node.args.op === 'value' && typeof node.args.args === 'bigint') {
				return int(-node.args.args);
			}
			if (node.args.op !== 'value') refuse(policy, 'arithmetic');
			expect(node.args, 'int', 'double');
			return kind(node.args);
		case '?:': {
			expect(node.args[0], 'bool');
			const [left, right] = [kind(node.args[1]), kind(node.args[2])];
			return left === right ? left : 'dyn';
		}
		case 'call': {
			const [name, args] = node.args;
			if (!CONVERSIONS.includes(name)) refuse(policy, `${name}()`);
			if (name === 'has' && args.length === 1 && args[0]!.op === '.')
				return kind(args[0]!) && 'bool';
			return checkCall(FUNCTIONS[name], name, args, kind);
		}
		case 'rcall': {
			const [name, receiver, args] = node.args;
			refuse(policy, `${name}()`);
			const iteration = ITERATIONS[name];
			if (!iteration) return checkCall(METHODS[name], name, [receiver, ...args], kind);
			expect(receiver, 'list', 'map');
			const [variable, ...rest] = args;
			if (!iteration.args.includes(args.length) || variable?.op !== 'id') {
				throw new ExpressionError(`${name}() takes the name of a variable and an expression`);
			}
			for (const part of rest) check(part, policy, [...variables, variable.args]);
			return iteration.gives;
		}
		case '.?':
		case '[?]':
			throw unknown('optional syntax');
		case 'in':
			kind(node.args[0]);
			expect(node.args[1], 'list', 'map');
			return 'bool';
		case '+':
			refuse(policy, 'arithmetic');
			node.args.forEach(kind);
			return 'dyn';
		case '-':
		case '*':
		case '/':
		case '%':
			refuse(policy, 'arithmetic');
			return arithmeticKind(node.op, kind(node.args[0]), kind(node.args[1]));
		default:
			// Comparisons accept all types.
			node.args.forEach(kind);
			return 'bool';
	}
}

function checkCall(
	fn: CelFunction | undefined,
	name: string,
	args: readonly ASTNode[],
	kind: (node: ASTNode) => Kind
): Kind {
	if (!fn) {
		const known = UNSUPPORTED_FUNCTIONS.has(name);
		throw known
			? new ExpressionError(`the embedded engine does not support ${name}()`)
			: unknown(`function ${name}()`);
	}
	if (fn.takes.length !== args.length) {
		throw new ExpressionError(`${name}() does not take ${args.length} values`);
	}
	for (const [at, allowed] of fn.takes.entries()) {
		const found = kind(args[at]!);
		if (found === 'dyn' || allowed.length === 0 || allowed.includes(found)) continue;
		throw new ExpressionError(`${name}() does not take a value of type ${found}`);
	}
	return fn.gives;
}

function arithmeticKind(operator: string, left: Kind, right: Kind): Kind {
	const times: Kind[] = ['timestamp', 'duration'];
	const numbers: Kind[] = operator === '%' ? ['int'] : ['int', 'double'];
	if (operator === '-') numbers.push(...times);
	for (const kind of [left, right]) {
		if (kind !== 'dyn' && !numbers.includes(kind)) {
			throw new ExpressionError(`"${operator}" does not take a value of type ${kind}`);
		}
	}
	if (left === 'dyn' || right === 'dyn' || times.includes(left)) return 'dyn';
	if (left !== right) throw new ExpressionError(`"${operator}" does not take ${left} and ${right}`);
	return left;
}

function literalKind(node: ASTNode & { op: 'value' }): Kind {
	if (typeof node.args === 'bigint') return int(node.args);
	const kind = kindOf(node.args);
	return kind === 'map' ? 'int' : kind;
}

function int(value: bigint): Kind {
	if (!isInt64(value)) throw new ExpressionError(`${value} is larger than a 64-bit integer`);
	return 'int';
}

function refuse(policy: Policy, what: string): void {
	if (policy === 'logic') throw new ExpressionError(`${what} is not allowed here`);
}

function unknown(what: string): ExpressionError {
	return new ExpressionError(`there is no ${what}`);
}

function source(node: ASTNode): string {
	return node.input.slice(node.start, node.end);
}
