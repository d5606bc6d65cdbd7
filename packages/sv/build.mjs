// Bundles the add-on: `sv add` takes no package that has dependencies. esbuild is the repository's own.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

await build({
	entryPoints: [at('src/index.ts')],
	outfile: at('dist/index.mjs'),
	bundle: true,
	minify: true,
	tsconfigRaw: {},
	format: 'esm',
	platform: 'node',
	target: 'node20',
	external: ['sv'],
	// Parts of the bundle are CommonJS and call `require`.
	banner: {
		js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
	},
	legalComments: 'linked'
});
