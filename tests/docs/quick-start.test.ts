import { expect, test } from 'vitest';
import { readPage, type Block } from './support/markdown.js';

const { text, blocks } = readPage('README.md');
const lineOf = (heading: string): number => {
	const at = text.indexOf(`\n${heading}\n`);
	expect(at, heading).toBeGreaterThan(0);
	return text.slice(0, at).split('\n').length;
};
const shown = [
	...blocks.filter(
		({ line }) => line > lineOf('## Quick start') && line < lineOf('## What else there is')
	),
	...readPage('docs/guides/inngest-3.md').blocks
];
const files = (generation: Block['generation']): (string | undefined)[] =>
	shown
		.filter((block) => block.generation === generation && /^(ts|svelte)$/.test(block.lang))
		.map(({ file }) => file);

test('the quick start shows every file of the app once, under its name', () => {
	expect(files(4)).toEqual([
		'vite.config.ts',
		'src/app.d.ts',
		'src/hooks.server.ts',
		'src/lib/realtime/channels.ts',
		'src/lib/server/inngest.ts',
		'src/lib/server/functions.ts',
		'src/routes/api/inngest/+server.ts',
		'src/routes/api/events/+server.ts',
		'src/routes/realtime-panel.svelte',
		'src/routes/+page.svelte',
		'src/routes/+page.server.ts'
	]);
});

test('with inngest 3 the files that differ are shown as a whole', () => {
	expect(files(3)).toEqual([
		'src/lib/realtime/channels.ts',
		'src/lib/server/inngest.ts',
		'src/lib/server/functions.ts'
	]);
	expect(shown.map(({ lang }) => lang)).not.toContain('diff');
});

test('what is said of inngest 3 is compiled with it, and all else with inngest 4', () => {
	const sdk = (block: Block): string[] => block.text.match(/'(@?inngest\/realtime)/g) ?? [];
	for (const block of shown) {
		const other = block.generation === 4 ? "'@inngest/realtime" : "'inngest/realtime";
		expect(sdk(block)).not.toContain(other);
	}
});

test('the README stays short', () => {
	expect(Buffer.byteLength(text)).toBeLessThan(15 * 1024);
});

test('whoever reads the README alone finds how to resume, scale, test and act', () => {
	for (const [word, page] of [
		['Resume', 'docs/guides/resume.md'],
		['Scale', 'docs/scale.md'],
		['Test', 'docs/guides/testing.md'],
		['Act from the page', 'docs/guides/events.md']
	] as const) {
		const [, part = ''] = text.split(`### ${word}\n`);
		expect(part.split(/^###? /m)[0], word).toContain(page);
	}
});
