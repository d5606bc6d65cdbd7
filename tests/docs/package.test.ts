import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from './support/markdown.js';

interface Manifest {
	exports: Record<string, string | { types: string; svelte?: string; default: string }>;
	files: string[];
	keywords: string[];
	[field: string]: unknown;
}
const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as Manifest;

/** The source of a built file. */
const sourceOf = (built: string): string =>
	built.replace('./dist/', 'src/lib/').replace(/(\.d\.ts|\.js)$/, '.ts');

/** The source of each entry, by its name. */
const entries = new Map(
	Object.entries(manifest.exports).flatMap(([name, target]) =>
		typeof target === 'string' ? [] : [[name, sourceOf(target.default)] as const]
	)
);

/** All files of this package that a file imports, directly or indirectly. */
function reach(file: string, reached = new Set<string>()): Set<string> {
	if (reached.has(file)) return reached;
	reached.add(file);
	const text = readFileSync(ROOT + file, 'utf8');
	for (const [, path] of text.matchAll(
		/^\s*(?:import|export)\b(?! type\b)[^;'"]*['"](\.[^'"]+)/gm
	)) {
		const target = join(dirname(file), path!);
		reach(target.endsWith('.js') ? target.replace(/\.js$/, '.ts') : target, reached);
	}
	return reached;
}

describe('entries', () => {
	test.each(Object.entries(manifest.exports))('%s has a source for each condition', (_, target) => {
		const built = typeof target === 'string' ? [] : Object.values(target);
		for (const path of built) expect(existsSync(ROOT + sourceOf(path)), path).toBe(true);
	});

	test('only its own entry imports the inspector', () => {
		expect(reach(entries.get('./inspector')!)).toContain('src/lib/inspector/Panel.svelte');
		for (const [name, source] of entries) {
			if (name === './inspector') continue;
			const inspector = [...reach(source)].filter((file) => file.includes('/inspector/'));
			expect(inspector, name).toEqual([]);
		}
	});

	test('entries for the browser import nothing from the server', () => {
		for (const name of ['.', './client', './inspector']) {
			const files = [...reach(entries.get(name)!)];
			expect(files.filter((file) => /\/(server|dev)\//.test(file))).toEqual([]);
			expect(files).toContain('src/lib/client/bus/bus.ts');
		}
	});
});

test('files that are published with the code exist, and the manifest names no repository', () => {
	for (const file of ['CHANGELOG.md', 'SECURITY.md', 'llms.txt']) {
		expect(manifest.files).toContain(file);
		expect(existsSync(ROOT + file), file).toBe(true);
	}
	expect(existsSync(`${ROOT}LICENSE`)).toBe(true);
	expect(manifest).not.toHaveProperty('repository');
	expect(manifest).not.toHaveProperty('homepage');
});

test('llms.txt names every entry, and nothing that is not an entry', () => {
	const text = readFileSync(`${ROOT}llms.txt`, 'utf8');
	const named = new Set(
		[...text.matchAll(/`(sveltekit-inngest(?:\/[\w/]+)?)`/g)].map(([, n]) => n!)
	);
	const own = [...entries.keys()].map((name) => name.replace(/^\./, 'sveltekit-inngest'));
	expect([...named].filter((name) => !own.includes(name))).toEqual([]);
	// The direct path to the factory adds nothing to `sveltekit-inngest/server`.
	const left = own.filter((name) => !named.has(name) && !name.includes('createRealtimeEndpoint'));
	expect(left).toEqual([]);
});

test('the workflows test the supported versions of Node with one command, and sign what they publish', () => {
	const read = (name: string): string =>
		readFileSync(`${ROOT}.github/workflows/${name}.yml`, 'utf8');
	expect(read('ci')).toMatch(/node: \[20, 22, 24\]/);
	expect(read('ci')).toMatch(/run: \.ci\/run$/m);
	expect(read('release')).toContain('id-token: write');
	expect(read('release')).toMatch(/npm publish --provenance/);
	expect(read('release').indexOf('release:verify')).toBeLessThan(
		read('release').indexOf('npm publish')
	);
	const changelog = readFileSync(`${ROOT}CHANGELOG.md`, 'utf8');
	expect(changelog).toContain(`## ${String(manifest.version)}`);
});
