import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { anchors, readPage, readPages, ROOT, type Page } from './support/markdown.js';

const pages = readPages();
const EXTERNAL = /^(https?:|mailto:|data:|\/\/)/;

/** By name, as many links lead to the same page. */
const known = new Map<string, Set<string>>();

function anchorsOf(name: string): Set<string> {
	let found = known.get(name);
	if (!found) known.set(name, (found = anchors(readPage(name))));
	return found;
}

/** Says why a link is broken; `undefined` if it works. */
function problem(page: Page, target: string): string | undefined {
	if (EXTERNAL.test(target)) return undefined;
	const [path = '', fragment] = decodeURIComponent(target).split('#');
	const file = path === '' ? page.name : join(dirname(page.name), path);
	if (path !== '' && !existsSync(ROOT + file)) return `${target}: there is no ${file}`;
	if (fragment === undefined || !file.endsWith('.md')) return undefined;
	const found = existsSync(ROOT + file) ? anchorsOf(file) : anchors(page);
	return found.has(fragment) ? undefined : `${target}: ${file} has no such heading`;
}

const broken = (page: Page): string[] =>
	page.links.flatMap(({ target, line }) => {
		const why = problem(page, target);
		return why ? [`${page.name}:${line}: ${why}`] : [];
	});

test.each(pages.map((page) => [page.name, page] as const))(
	'%s: relative links lead to files and headings that exist',
	(_, page) => {
		expect(broken(page)).toEqual([]);
	}
);

test('links that lead nowhere are found', () => {
	const page = readPage(
		'x.md',
		'# One\n[a](#one) [b](#two)\n[c](docs/none.md)\n<img src="no.png">'
	);
	expect(broken(page)).toEqual([
		'x.md:2: #two: x.md has no such heading',
		'x.md:3: docs/none.md: there is no docs/none.md',
		'x.md:4: no.png: there is no no.png'
	]);
});

test('tests that a page names exist', () => {
	const missing = pages.flatMap(({ name, text }) =>
		[...text.matchAll(/\btests\/[\w/.-]+\.test\.ts\b/g)]
			.filter(([path]) => !existsSync(ROOT + path))
			.map(([path]) => `${name}: ${path}`)
	);
	expect(missing).toEqual([]);
});

test('commands that a page names are scripts of the package', () => {
	const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as {
		scripts: Record<string, string>;
	};
	const missing = pages.flatMap(({ name, text }) =>
		[...text.matchAll(/\bnpm run ([\w:-]+)/g)]
			.filter(([, script]) => !(script! in scripts))
			.map(([command]) => `${name}: ${command}`)
	);
	expect(missing).toEqual([]);
});
