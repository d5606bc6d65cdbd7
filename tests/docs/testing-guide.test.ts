import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readPage, ROOT } from './support/markdown.js';

const { blocks } = readPage('docs/guides/testing.md');

/** The code without its imports, and without what depends on the machine or on the demo's types. */
const body = (text: string): string =>
	text
		.split('\n')
		.filter((line) => !/^(import |\/\/ |const port = )|chromium\.launch/.test(line))
		.join('\n')
		.replaceAll(' as never', '')
		.trim();

test.each([
	['src/routes/realtime-panel.svelte.test.ts', 'tests/component/guide.svelte.test.ts'],
	['src/routes/realtime-panel.test.ts', 'tests/jsdom/guide.test.ts'],
	['src/lib/server/realtime.test.ts', 'tests/unit/guide-endpoint.test.ts'],
	['src/lib/realtime/faults.test.ts', 'tests/jsdom/guide-faults.test.ts'],
	['src/lib/server/faults.test.ts', 'tests/unit/guide-faults.test.ts'],
	['e2e/live.test.ts', 'tests/e2e/guide.test.ts']
])('the example %s is run: %s is the same', (name, copy) => {
	const { text } = blocks.find(({ file }) => file === name)!;
	expect(body(readFileSync(ROOT + copy, 'utf8'))).toBe(body(text));
});

test('the panel that they test is that of the quick start', () => {
	const { text } = readPage('README.md').blocks.find(
		({ file }) => file === 'src/routes/realtime-panel.svelte'
	)!;
	const lines = (code: string): string[] =>
		code.split('\n').filter((line) => !/^\s*import |<!--/.test(line) && line.trim() !== '');
	expect(lines(readFileSync(`${ROOT}tests/support/guide/RealtimePanel.svelte`, 'utf8'))).toEqual(
		lines(text)
	);
});
