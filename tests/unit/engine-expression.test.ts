import { expect, it } from 'vitest';
import { Expression } from '../../src/lib/dev/expressions/expression.js';

const event = {
	name: 'shop/order',
	ts: 1_764_000_000_000,
	user: {},
	data: {
		n: 5,
		f: 1.5,
		s: 'hello',
		empty: '',
		zero: 0,
		ok: true,
		off: false,
		nothing: null,
		quoted: "it's",
		list: ['a', 'b'],
		same: ['a', 'b'],
		nums: [1, 2, 3],
		rows: [{ id: 1 }, { id: 2, tag: 'x' }],
		user: { id: 'alice', tags: { a: 1 } },
		twin: { id: 'alice', tags: { a: 1 } },
		when: '2026-01-01T10:00:00Z',
		encoded: 'eyJuZXN0ZWQiOnsiZGF0YSI6InllYSJ9fQ=='
	}
};
const async = { name: 'shop/paid', data: { user: { id: 'alice' }, n: 6 } };

const evaluate = (text: string): unknown => new Expression(text).evaluate({ event, async });

const tables: Record<string, [text: string, value: unknown][]> = {
	'compares with ==, and numbers across their types': [
		['event.data.n == 5', true],
		['event.data.n == 5.0', true],
		['event.data.n == "5"', false],
		['5 == event.data.n', true],
		['event.data.n == -5', false],
		['event.data.n != 5', false],
		["event.data.quoted == 'it\\'s'", true],
		['event.data.user.id == async.data.user.id', true],
		['event.data.user == event.data.twin', true],
		['event.data.list == event.data.same', true],
		["event.data.list == ['a', 'b']", true],
		["event.data.list == ['b', 'a']", false],
		['event.data.list.length == 2', false],
		["event.data['s'] == 'hello'", true],
		['event.data.list[1] == "b"', true],
		['event.data.ok == true', true],
		['event.data.ok == 1', false]
	],
	'takes a missing field for null, but for no other value': [
		['event.data.missing == null', true],
		['event.data.missing != null', false],
		["event.data.missing == 'a'", false],
		["event.data.missing != 'a'", true],
		['event.data.missing == event.data.absent', false],
		['event.data.missing.deeper.still == null', true],
		['event.data.constructor == null', true],
		['event.data.list[7] == null', true],
		['event.data.nothing == null', true],
		["event.data.nothing == ''", false],
		['event.data.missing < 5', true],
		['event.data.missing > 5', false],
		['5 > event.data.missing', true],
		['5 <= event.data.missing', false],
		['event.data.nothing < 1', true],
		["event.data.nothing < 'a'", true],
		['null >= 1', false],
		['size(event.data.missing) == 0', true],
		["event.data.missing in ['a']", false],
		["'a' in event.data.missing", false],
		["event.data.missing.startsWith('a')", false],
		["event.data.missing.exists(x, x == 'a')", undefined],
		["!event.data.missing.exists(x, x == 'a')", false],
		['has(event.data.missing)', undefined],
		['has(event.data.nothing)', true],
		['event.data.missing', undefined]
	],
	'compares by order': [
		['event.data.n > 3', true],
		['event.data.n >= 5.5', false],
		['event.data.f < 2', true],
		["event.data.s < 'help'", true],
		['event.data.s > 5', undefined],
		['event.data.ok > 5', undefined]
	],
	'combines conditions, with any value as a truth value': [
		["event.data.s == 'hello' && event.data.n > 3", true],
		["event.data.s == 'bye' || event.data.n > 3", true],
		['!(event.data.n > 3)', false],
		['!event.data.off', true],
		['!event.data.s', undefined],
		['event.data.empty || event.data.s', 'hello'],
		['event.data.zero || event.data.s', 'hello'],
		['event.data.missing || event.data.ok', true],
		['event.data.missing && event.data.ok', undefined],
		['event.data.empty && event.data.ok', ''],
		['event.data.s > 5 || event.data.ok', true],
		["event.data.s ? 'yes' : 'no'", 'yes'],
		["event.data.empty ? 'yes' : 'no'", 'no'],
		["event.data.missing ? 'yes' : 'no'", 'no']
	],
	'calculates, and joins texts': [
		['5 + 4', 9n],
		['event.data.f + 1.0', 2.5],
		['event.data.n + 1', '51'],
		["event.data.s + '-' + event.data.f + '-' + event.data.missing", 'hello-1.5-'],
		["event.data.list + '!'", '[a b]!'],
		["event.data.user + '!'", 'map[id:alice tags:map[a:1]]!'],
		['event.data.list + ["c"]', ['a', 'b', 'c']],
		['7 % 2 == 1', true],
		['1 / 0', undefined],
		['7 / 2', 3n],
		['-event.data.f == -1.5', true]
	],
	'looks into lists, maps and texts': [
		["'a' in event.data.list", true],
		["'id' in event.data.user", true],
		["event.data.s in ['bye', 'hello']", true],
		["event.data.list.exists(x, x == 'b')", true],
		['event.data.nums.all(x, x > 0)', true],
		['event.data.nums.exists_one(x, x > 2)', true],
		['event.data.nums.filter(x, x > 1)', [2, 3]],
		['event.data.nums.map(x, x > 1, x * 2.0)', [4, 6]],
		["event.data.rows.exists(row, row.tag == 'x')", true],
		['size(event.data.list) == 2', true],
		['event.data.s.size() == 5', true],
		["event.data.s.startsWith('he') && event.data.s.endsWith('lo')", true],
		["event.data.s.contains('ell')", true],
		["event.data.s.matches('^h.*o$')", true],
		["event.data.s.matches('(?i)^HELLO$')", true],
		["event.data.s.matches('(')", undefined],
		['event.data.n.contains("5")', undefined]
	],
	'has the functions of CEL and those of Inngest': [
		['int(event.data.n) + 1 == 6', true],
		["int('12') == 12", true],
		["int('twelve')", undefined],
		["double('1.5') == event.data.f", true],
		['string(event.data.n) == "5"', true],
		['uppercase(event.data.s)', 'HELLO'],
		["lowercase('ABC') == 'abc'", true],
		['json_parse(b64decode(event.data.encoded)).nested.data', 'yea'],
		['date(event.data.when) < now()', true],
		["date(event.data.when) + duration('6h35m') == date('2026-01-01T16:35:00')", true],
		["now_plus('1h') > now() && now_minus('1h') < now()", true],
		['date(event.data.when).getHours() == 10', true],
		["timestamp('2026-01-01T00:00:00Z') == date('2026-01-01')", true],
		["date('nonsense') > now()", false]
	]
};

for (const [rule, cases] of Object.entries(tables)) {
	it.each(cases)(`${rule}: %s`, (text, value) => {
		expect(evaluate(text)).toEqual(value);
	});
}

it('matches where the value is true, and not for other values', () => {
	const matches = (text: string): boolean => new Expression(text).matches({ event });
	expect(matches('event.data.ok')).toBe(true);
	for (const text of ['event.data.s', 'event.data.n', 'event.data.missing', '5 + 4']) {
		expect(matches(text), text).toBe(false);
	}
});

it.each([
	'',
	'event.data. ==',
	"event.data.n == '",
	'(event.data.n',
	'event.data.n = 5',
	'other.data.n == 5',
	'item == 1',
	'nonsense(event.data.n)',
	'event.data.s.nonsense()',
	"event.data.s.startsWith('a', 'b')",
	'size()',
	'event.data.list.exists(x)',
	'event.data.list.exists(x.y, true)',
	'event.data.list.exists(x, y == 1)',
	'event.data.big == 12345678901234567890',
	'5 && event.data.ok',
	"!'text'",
	"'a' - 1",
	'1 - 1.0',
	"5.startsWith('a')",
	"'text'.id == 1",
	"1 in 'text'",
	'bytes(event.data.s) == b"a"'
])('refuses what is not valid: %s', (text) => {
	expect(() => new Expression(text)).toThrow(/./);
});

it('refuses more where only logic is allowed', () => {
	for (const text of [
		"event.data.s.startsWith('a')",
		'has(event.data.s)',
		"event.data.list.exists(x, x == 'a')",
		'event.data.n + 1 == 2',
		'size(event.data.list) > 0',
		"date(event.data.when) > now_plus('1h')"
	]) {
		expect(() => new Expression(text), text).not.toThrow();
		expect(() => new Expression(text, 'logic'), text).toThrow('not allowed here');
	}
	const fine = "async.data.id == event.data.id && (async.data.n > -1 || 'a' in event.data.list)";
	expect(() => new Expression(fine, 'logic')).not.toThrow();
	expect(() => new Expression('int(async.status) == 200', 'logic')).not.toThrow();
});

it('does not let nesting exhaust the stack', () => {
	expect(() => new Expression('('.repeat(5_000) + 'true' + ')'.repeat(5_000))).toThrow();
	expect(() => new Expression('!'.repeat(100_000) + 'true')).toThrow();
});
