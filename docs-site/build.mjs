// Builds the site from README.md and docs/ into docs-site/build: npm run docs:site
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as pagefind from 'pagefind';

const FOLDER = dirname(fileURLToPath(import.meta.url));
const vite = join(
	dirname(createRequire(import.meta.url).resolve('vite/package.json')),
	'bin/vite.js'
);

const { status } = spawnSync(process.execPath, [vite, 'build', '--logLevel', 'warn'], {
	cwd: FOLDER,
	stdio: 'inherit'
});
if (status !== 0) process.exit(status ?? 1);

const { index } = await pagefind.createIndex();
if (!index) throw new Error('The index for the search could not be created.');
const { page_count: pages, errors } = await index.addDirectory({ path: join(FOLDER, 'build') });
errors.push(...(await index.writeFiles({ outputPath: join(FOLDER, 'build/pagefind') })).errors);
await pagefind.close();
if (errors.length > 0) throw new Error(errors.join('\n'));
console.log(`docs-site/build has ${pages} pages.`);
