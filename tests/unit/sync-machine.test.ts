import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { TRANSITIONS } from '../../src/lib/sync/pull/machine.js';

const DOCS = readFileSync(new URL('../../docs/guides/sync.md', import.meta.url), 'utf8');

/** Cells of a row of a Markdown table. */
const cells = (line: string): string[] =>
	line
		.split('|')
		.slice(1, -1)
		.map((cell) => cell.replaceAll('`', '').trim());

test('the table of transitions in the docs is the one of the code, cell by cell', () => {
	const [, table] = DOCS.split(/<!-- (?:end of )?transitions -->/);
	const [head, , ...rows] = table!.trim().split('\n').map(cells);
	const documented: Record<string, object> = Object.fromEntries(
		rows.map(([state, ...next]) => [
			state,
			Object.fromEntries(next.map((cell, index) => [head![index + 1], cell.split(' · ')]))
		])
	);
	expect(documented).toEqual(TRANSITIONS);
	for (const events of Object.values(documented)) expect(Object.keys(events)).toHaveLength(10);
});

test('every state and event of the docs is explained, and none is missing', () => {
	const explained = [...DOCS.matchAll(/^\| `(\w+)` +\| [A-Z]/gm)].map(([, name]) => name!);
	for (const [state, events] of Object.entries(TRANSITIONS)) {
		expect(explained).toContain(state);
		for (const event of Object.keys(events)) expect(explained).toContain(event);
	}
});

test('a table that is off stays off, and nothing but start brings it back', () => {
	for (const [event, [next, effect]] of Object.entries(TRANSITIONS.off)) {
		expect([next, effect]).toEqual(event === 'start' ? ['fetching', 'fetch'] : ['off', undefined]);
	}
	for (const events of Object.values(TRANSITIONS)) expect(events.stop[0]).toBe('off');
});

test('no gap is forgotten: after one, a fetch begins that started later', () => {
	expect(TRANSITIONS.current.gap).toEqual(['fetching', 'fetch']);
	expect(TRANSITIONS.fetching.gap).toEqual(['again']);
	for (const event of ['end', 'stall', 'refuse'] as const) {
		expect(TRANSITIONS.again[event]).toEqual(['fetching', 'fetch']);
	}
	// Whoever waits fetches anyway.
	expect(TRANSITIONS.waiting.timer).toEqual(['fetching', 'fetch']);
});
