import { beforeAll, describe, expect, test } from 'vitest';
import { COMPILED, compileBlocks } from './support/compile.js';
import { readPage, readPages, type Block } from './support/markdown.js';

// Examples of the reference are fragments of doc comments.
const blocks = readPages()
	.filter(({ name }) => !name.startsWith('docs/reference/'))
	.flatMap(({ blocks }) => blocks);
const compiled = blocks.filter(({ lang }) => COMPILED.has(lang));

const wrong = readPage(
	'wrong.md',
	`
\`\`\`ts
// src/lib/wrong.ts
export const count: number = 'one';
\`\`\`

\`\`\`svelte
<p>{count.toFixed()}</p>
<p>{count.length}</p>
<RealtimeManager subscriptions={[]} enpoint="/x" />
<img src="x.png" />
\`\`\`

\`\`\`ts
const realtime = createRealtime({ inngest: new Inngest({ id: 'x' }), chanels: {} });
\`\`\`
`
).blocks;

let problems: Map<Block, string[]>;
beforeAll(() => {
	problems = compileBlocks([...compiled, ...wrong]);
}, 300_000);

const title = ({ page, line, file }: Block): string => `${page}:${line}${file ? ` ${file}` : ''}`;

describe('TypeScript and Svelte compile', () => {
	test.each(compiled.map((block) => [title(block), block] as const))('%s', (_, block) => {
		expect(problems.get(block)).toEqual([]);
	});
});

test('wrong code is found, with its line', () => {
	expect(wrong.flatMap((block) => problems.get(block)!)).toEqual([
		expect.stringMatching(/^wrong\.md:4: Type 'string' is not assignable to type 'number'/),
		expect.stringMatching(/^wrong\.md:9: Property 'length' does not exist on type 'number'/),
		expect.stringMatching(/^wrong\.md:10: .*enpoint/s),
		expect.stringMatching(/^wrong\.md:11: .*alt/),
		expect.stringMatching(/^wrong\.md:15: .*chanels/s)
	]);
});

test('JSON parses', () => {
	for (const block of blocks.filter(({ lang }) => lang === 'json')) {
		expect(() => JSON.parse(block.text), title(block)).not.toThrow();
	}
});
