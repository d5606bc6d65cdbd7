import { ParseError, parse } from '@marcbachmann/cel-js';
import type { ASTNode } from '@marcbachmann/cel-js';
import { check, ExpressionError } from './check.js';
import type { Policy } from './check.js';
import { evaluate } from './evaluate.js';
import { MISSING } from './values.js';

/** The data of an expression. */
export interface ExpressionData {
	/** The event that starts or started the run. */
	event: unknown;
	/** The event that arrives, in `cancelOn` and `step.waitForEvent()`. */
	async?: unknown;
}

/** A condition on events in CEL, evaluated as Inngest does. */
export class Expression {
	readonly text: string;
	readonly #ast: ASTNode;

	/**
	 * @param policy What the expression may use. @default 'all'
	 * @throws {ExpressionError} when it is not a valid expression.
	 */
	constructor(text: string, policy: Policy = 'all') {
		this.text = text;
		try {
			this.#ast = parse(text).ast;
		} catch (error) {
			throw new ExpressionError(error instanceof ParseError ? error.summary : String(error));
		}
		check(this.#ast, policy);
	}

	/** The value for this data; `undefined` if it has none. */
	evaluate(data: ExpressionData): unknown {
		const value = evaluate(this.#ast, { ...data });
		return value === MISSING ? undefined : value;
	}

	/** Whether the data meets the condition. A value other than `true` does not. */
	matches(data: ExpressionData): boolean {
		return this.evaluate(data) === true;
	}
}
