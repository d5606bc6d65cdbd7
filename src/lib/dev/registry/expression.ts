/** Data that an expression looks at. */
export interface ExpressionData {
	/** The event that starts or started the run. */
	event: unknown;
	/** The event that arrives, where the expression is of `cancelOn`. */
	async?: unknown;
}

/** A condition on events. */
export type Expression = (data: ExpressionData) => boolean;

type Operand = (data: ExpressionData) => unknown;

const COMPARISON = /^\s*(.+?)\s*(==|!=)\s*(.+?)\s*$/;
const PATH = /^(event|async)((?:\.[A-Za-z_]\w*)+)$/;
const TEXT = /^(?:'([^'\\]*)'|"([^"\\]*)")$/;
const NUMBER = /^-?\d+(?:\.\d+)?$/;

/**
 * Reads a condition of the form `path == value`, which covers what the SDK writes by itself
 * (`onFailure`, `match`) and simple filters. The whole language (CEL) is not for this engine.
 *
 * @returns `null` for anything else.
 */
export function parseExpression(text: string): Expression | null {
	const [, left = '', operator = '', right = ''] = COMPARISON.exec(text) ?? [];
	const a = parseOperand(left);
	const b = parseOperand(right);
	if (!a || !b) return null;
	return (data) => (a(data) === b(data)) === (operator === '==');
}

function parseOperand(text: string): Operand | null {
	const path = PATH.exec(text);
	if (path) {
		const keys = path[2]!.slice(1).split('.');
		const root = path[1] as keyof ExpressionData;
		return (data) => keys.reduce<unknown>(property, data[root]);
	}
	const quoted = TEXT.exec(text);
	if (quoted) return () => quoted[1] ?? quoted[2];
	if (NUMBER.test(text)) return () => Number(text);
	if (text === 'true' || text === 'false') return () => text === 'true';
	if (text === 'null') return () => null;
	return null;
}

function property(value: unknown, key: string): unknown {
	if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return null;
	return (value as Record<string, unknown>)[key] ?? null;
}
