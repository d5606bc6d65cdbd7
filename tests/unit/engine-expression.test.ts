import { expect, it } from 'vitest';
import { parseExpression } from '../../src/lib/dev/registry/expression.js';

const event = { data: { n: 5, name: "it's", ok: true, nothing: null, user: { id: 'alice' } } };

it('compares a path with a value, or two paths', () => {
	const cases: [string, boolean][] = [
		['event.data.n == 5', true],
		['event.data.n != 5', false],
		['event.data.n==-5.5', false],
		["event.data.user.id == 'alice'", true],
		['event.data.user.id == "bob"', false],
		["'alice' == event.data.user.id", true],
		['event.data.ok == true', true],
		['event.data.nothing == null', true],
		['event.data.missing == null', true],
		["event.data.missing.deeper == 'x'", false],
		["event.data.constructor == 'x'", false],
		['event.data.user.id == async.data.user.id', true]
	];
	for (const [text, result] of cases) {
		const expression = parseExpression(text);
		expect(expression?.({ event, async: event }), text).toBe(result);
	}
});

it('leaves everything else to the full language', () => {
	const texts = [
		'',
		'true',
		'event.data.n > 5',
		"event.data.a == 'x' && event.data.b == 'y'",
		"event.data.name == 'it\\'s'",
		'size(event.data.list) == 2',
		'event.data["n"] == 5',
		'other.data.n == 5'
	];
	for (const text of texts) expect(parseExpression(text), text).toBeNull();
});
