// Writes docs/reference from the code, one page per entry point: npm run docs:reference [folder]
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { Application } from 'typedoc';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

/** Entries that export what another one exports. */
const REPEATED = ['./client', './server/createRealtimeEndpoint', './package.json'];

/** Source of each entry below src/lib, by the name of its page. */
const ENTRIES = Object.fromEntries(
	Object.entries(exports)
		.filter(([entry]) => !REPEATED.includes(entry))
		.map(([entry, { default: built }]) => [
			entry === '.' ? 'client' : entry.slice(2).replaceAll('/', '-'),
			entry === '.' ? 'client/index.ts' : built.replace('./dist/', '').replace(/\.js$/, '.ts')
		])
);

/** What an app imports, and what it is for, by the name of its page. Others are named like their page. */
const ABOUT = {
	client: [
		'sveltekit-inngest',
		'Components and hooks, also as `sveltekit-inngest/client`. The component `RealtimeManager` takes [RealtimeManagerProps](#realtimemanagerprops)'
	],
	bus: ['sveltekit-inngest/bus', 'The client without components'],
	server: ['sveltekit-inngest/server', 'The endpoint'],
	redis: ['sveltekit-inngest/redis', 'A backend in Redis or Valkey'],
	postgres: ['sveltekit-inngest/postgres', 'A backend in Postgres, and rows as messages'],
	prometheus: ['sveltekit-inngest/prometheus', 'Metrics'],
	testing: ['sveltekit-inngest/testing', 'A bus and an endpoint for tests'],
	inspector: [
		'sveltekit-inngest/inspector',
		'A panel that shows what the client knows: the component `RealtimeInspector`'
	],
	trpc: ['sveltekit-inngest/trpc', 'A router for tRPC'],
	vite: ['sveltekit-inngest/vite', 'The Vite plugin'],
	dev: ['sveltekit-inngest/dev', 'The embedded Inngest engine']
};

/** @param {string} name */
const aboutOf = (name) =>
	ABOUT[name] ?? [`sveltekit-inngest/${name.replace('-', '/')}`, 'An entry'];

/** The page that TypeDoc makes of a source. */
const pageOf = (source) => source.replace(/(\/index)?\.ts$/, '.md');

/** The page under its own title, with links to the other pages. */
function rewrite(text, source, name) {
	const linked = text.replace(/\]\(([^)#\s]+\.md)/g, (link, path) => {
		const target = join(dirname(pageOf(source)), path);
		const [other] = Object.entries(ENTRIES).find(([, one]) => pageOf(one) === target) ?? [];
		return other ? `](${other === name ? '' : `${other}.md`}` : link;
	});
	// TypeScript lists the members of a union in the order in which it met them.
	const sorted = linked.replace(/`"[^"`]+"`(?: \\\| `"[^"`]+"`)+/g, (union) =>
		union.split(' \\| ').sort().join(' \\| ')
	);
	// The types of SvelteKit name the routes of the demo.
	const general = sorted.replace(/`RequestEvent`\\<.*?`null`\\>/g, '`RequestEvent`');
	const body = general.replace(/^# .*\n/, '');
	const [entry, what] = aboutOf(name);
	return `# ${entry}\n\n${what}. This page is made from the code.\n${body}`;
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text) {
	const found = new Set();
	for (const [, heading] of text.matchAll(/^#+ (.*)$/gm)) {
		const slug = heading
			.toLowerCase()
			.replace(/[^\p{L}\p{N}\s_-]/gu, '')
			.trim()
			.replace(/\s/g, '-');
		let anchor = slug;
		for (let count = 1; found.has(anchor); count++) anchor = `${slug}-${count}`;
		found.add(anchor);
	}
	return found;
}

/** TypeDoc counts some headings that are not there: links to them lead to the first one of their name. */
function mend(text, page, anchors) {
	return text.replace(/\[([^\]]*)\]\(([\w-]*\.md|)#([\w-]+)\)/g, (link, label, path, anchor) => {
		const there = anchors.get(path || page);
		if (there.has(anchor)) return link;
		const first = anchor.replace(/-\d+$/, '');
		return there.has(first) ? `[${label}](${path}#${first})` : label;
	});
}

function indexPage() {
	const names = [...new Set([...Object.keys(ABOUT), ...Object.keys(ENTRIES)])];
	const rows = names
		.map((name) => [name, aboutOf(name)])
		.map(([name, [entry, what]]) => `| [\`${entry}\`](${name}.md) | ${what.split(/[.:]/)[0]} |`);
	return `# Reference\n\nEvery export of every entry, made from the code by \`npm run docs:reference\`. The [guides](../guides/) show how they are used.\n\n| Import | What it is |\n| --- | --- |\n${rows.join('\n')}\n`;
}

/**
 * Writes the pages into a folder, which it empties first.
 * @param {string} target
 */
export async function writeReference(target) {
	const folder = mkdtempSync(join(tmpdir(), 'reference-'));
	try {
		const app = await Application.bootstrapWithPlugins({
			entryPoints: Object.values(ENTRIES).map((path) => join(ROOT, 'src/lib', path)),
			tsconfig: join(ROOT, 'scripts/tsconfig.reference.json'),
			plugin: ['typedoc-plugin-markdown'],
			router: 'module',
			disableSources: true,
			skipErrorChecking: true,
			excludeInternal: true,
			excludePrivate: true,
			excludeExternals: true,
			readme: 'none',
			hideBreadcrumbs: true,
			hidePageHeader: true,
			logLevel: 'Error',
			sort: ['alphabetical'],
			parametersFormat: 'list',
			out: folder
		});
		const project = await app.convert();
		if (!project) throw new Error('The code could not be read.');
		await app.generateOutputs(project);
		mkdirSync(target, { recursive: true });
		for (const name of readdirSync(target)) {
			if (name.endsWith('.md')) rmSync(join(target, name));
		}
		const options = await resolveConfig(join(ROOT, 'docs/reference/README.md'));
		const pages = new Map();
		for (const [name, source] of Object.entries(ENTRIES)) {
			const text = readFileSync(join(folder, pageOf(source)), 'utf8');
			const page = await format(rewrite(text, source, name), { ...options, parser: 'markdown' });
			pages.set(`${name}.md`, page);
		}
		const anchors = new Map([...pages].map(([name, text]) => [name, anchorsOf(text)]));
		for (const [name, text] of pages) writeFileSync(join(target, name), mend(text, name, anchors));
		const index = await format(indexPage(), { ...options, parser: 'markdown' });
		writeFileSync(join(target, 'README.md'), index);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	await writeReference(process.argv[2] ?? join(ROOT, 'docs/reference'));
}
