import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ROOT } from './support/markdown.js';

interface Manifest {
	license?: string;
	dependencies?: Record<string, string>;
	peerDependencies?: Record<string, string>;
}
const read = (path: string): Manifest =>
	JSON.parse(readFileSync(`${ROOT}${path}package.json`, 'utf8')) as Manifest;

test('the page about dependencies lists each one with its licence, and nothing else', () => {
	const { dependencies, peerDependencies } = read('');
	const names = Object.keys({ ...dependencies, ...peerDependencies });
	const page = readFileSync(`${ROOT}docs/dependencies.md`, 'utf8');
	const rows = [...page.matchAll(/^\| `([^`]+)` .*\| (\S+) +\|$/gm)];
	const listed = Object.fromEntries(rows.map(([, name, licence]) => [name, licence]));
	expect(listed).toEqual(
		Object.fromEntries(names.map((name) => [name, read(`node_modules/${name}/`).license]))
	);
});
