import { expect, test } from 'vitest';
import { readPage, type Block } from './support/markdown.js';

const { text, blocks } = readPage('README.md');
const lineOf = (heading: string): number =>
	text.slice(0, text.indexOf(`\n${heading}\n`)).split('\n').length;
const shown = blocks.filter(
	({ line }) => line > lineOf('## Quick start') && line < lineOf('## Beyond the newest value')
);
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
