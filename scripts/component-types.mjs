// Run after `svelte-package`. TypeScript's Node resolution does not know `.svelte` files: there the types of a
// component would be missing. `.svelte.js` leads it, and every other resolution, to the `.svelte.d.ts` beside it.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const DIST = 'dist';

for (const name of await readdir(DIST, { recursive: true })) {
	if (!name.endsWith('.d.ts')) continue;
	const path = join(DIST, name);
	const text = await readFile(path, 'utf8');
	const resolvable = text.replace(/(from '\.[^']*\.svelte)'/g, "$1.js'");
	if (resolvable !== text) await writeFile(path, resolvable);
}
