import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { expect, test } from 'vitest';

/**
 * The rooms of the house: docs/architecture.md has the list of who may import whom, and the code keeps
 * to it, type imports included.
 */
const LIB = join(import.meta.dirname, '../../src/lib');
const DOCS = join(import.meta.dirname, '../../docs/architecture.md');

interface Import {
	from: string;
	to: string;
}

/** Files of the library, relative to it. */
const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' })
	.filter((file) => /\.(ts|svelte)$/.test(file))
	.map((file) => file.split(sep).join('/'));

/** What a file names in `from '…'` or `import('…')`; `import '…'` as well. */
function specifiers(file: string): string[] {
	const text = readFileSync(join(LIB, file), 'utf8').replace(/^\s*(\*|\/\/).*$/gm, '');
	const found = text.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|\bimport\s+)['"]([^'"]+)['"]/g);
	return [...found].map(([, specifier]) => specifier!);
}

/** Imports of one file of the library by another. */
const imports: Import[] = files.flatMap((from) =>
	specifiers(from)
		.filter((specifier) => specifier.startsWith('.'))
		.map((specifier) => {
			const path = join(dirname(join(LIB, from)), specifier);
			const to = relative(LIB, path).split(sep).join('/');
			const file = [to, to.replace(/\.js$/, '.ts')].find((name) => files.includes(name));
			if (!file) throw new Error(`${from} imports ${specifier}, which does not exist.`);
			return { from, to: file };
		})
);

/** An item of the list: a room, and the rooms that it may import besides itself. */
interface Room {
	name: string;
	mayImport: string[];
}

const rooms: Room[] = [
	...readFileSync(DOCS, 'utf8')
		.split(/<!-- (?:end of )?rooms -->/)[1]!
		.matchAll(/^- `([^`]+)`: .*? May import (.*)$/gm)
].map(([, name, allowed]) => ({
	name: name!,
	mayImport: [...allowed!.matchAll(/`([^`]+)`/g)].map(([, room]) => room!)
}));

/** The room of a file: the row with the longest matching path. */
function roomOf(file: string): Room {
	const matches = rooms.filter(({ name }) => file === name || file.startsWith(`${name}/`));
	const room = matches.sort((a, b) => b.name.length - a.name.length)[0];
	if (!room) throw new Error(`docs/architecture.md has no room for ${file}.`);
	return room;
}

test('every room of the list exists, and every file has a room', () => {
	expect(rooms.length).toBeGreaterThan(10);
	const used = new Set(files.map((file) => roomOf(file).name));
	expect(rooms.filter(({ name }) => !used.has(name))).toEqual([]);
	for (const { mayImport } of rooms) {
		for (const name of mayImport) expect(rooms.map((room) => room.name)).toContain(name);
	}
});

test('no room imports what the list does not allow', () => {
	expect(imports.length).toBeGreaterThan(100);
	const wrong = imports.filter(({ from, to }) => {
		const [own, other] = [roomOf(from), roomOf(to)];
		return own !== other && !own.mayImport.includes(other.name);
	});
	expect(wrong).toEqual([]);
});

/** @returns the nodes of a circle, if there is one. */
function findCircle(edges: readonly Import[]): string[] | undefined {
	const next = new Map<string, Set<string>>();
	for (const { from, to } of edges) {
		if (from !== to) next.set(from, (next.get(from) ?? new Set()).add(to));
	}
	const done = new Set<string>();
	const visit = (node: string, path: string[]): string[] | undefined => {
		if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
		if (done.has(node)) return undefined;
		for (const other of next.get(node) ?? []) {
			const circle = visit(other, [...path, node]);
			if (circle) return circle;
		}
		done.add(node);
		return undefined;
	};
	for (const node of next.keys()) {
		const circle = visit(node, []);
		if (circle) return circle;
	}
	return undefined;
}

test('no circle of imports between files, and none between rooms', () => {
	expect(findCircle(imports)).toBeUndefined();
	const between = imports.map(({ from, to }) => ({ from: roomOf(from).name, to: roomOf(to).name }));
	expect(findCircle(between)).toBeUndefined();
	expect(
		findCircle([
			{ from: 'a', to: 'b' },
			{ from: 'b', to: 'c' },
			{ from: 'c', to: 'b' }
		])
	).toEqual(['b', 'c', 'b']);
});
