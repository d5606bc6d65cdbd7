import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

const ENTRY = fileURLToPath(new URL('../../src/lib/sync/index.ts', import.meta.url));

test('the client of synced tables costs at most 8 KB, Dexie and Svelte aside; the rest is loaded when it leads', async () => {
	const { metafile, outputFiles } = await build({
		entryPoints: [ENTRY],
		bundle: true,
		minify: true,
		format: 'esm',
		splitting: true,
		outdir: '/out',
		write: false,
		metafile: true,
		external: ['dexie', 'svelte', 'svelte/*', 'esm-env'],
		logLevel: 'silent'
	});
	const outputs = Object.entries(metafile.outputs);
	const text = (path: string): Uint8Array =>
		outputFiles.find((file) => file.path.endsWith(path.split('/').pop()!))!.contents;
	/** A chunk and those that it imports at once. */
	const paid = (path: string, found = new Set<string>()): Set<string> => {
		found.add(path);
		for (const { path: next, kind, external } of metafile.outputs[path]!.imports) {
			if (kind === 'import-statement' && !external && !found.has(next)) paid(next, found);
		}
		return found;
	};
	const [entry] = outputs.find(([, { entryPoint }]) => entryPoint?.endsWith('sync/index.ts'))!;
	const chunks = [...paid(entry)];
	const bytes = chunks.reduce((sum, path) => sum + gzipSync(text(path), { level: 9 }).length, 0);
	expect(bytes).toBeGreaterThan(4 * 1024);
	expect(bytes).toBeLessThanOrEqual(8 * 1024);
	const inputs = chunks.flatMap((path) => Object.keys(metafile.outputs[path]!.inputs));
	expect(inputs.join()).not.toMatch(
		/lib\/(server|sync\/(server|pull|session|line))|client\/transport|zod/
	);
	const all = outputs.reduce((sum, [path]) => sum + gzipSync(text(path), { level: 9 }).length, 0);
	expect(all).toBeLessThanOrEqual(21.5 * 1024);
});
