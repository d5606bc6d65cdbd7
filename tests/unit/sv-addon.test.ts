import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { add, create, type LanguageType } from 'sv';
import { afterAll, describe, expect, test } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import addonManifest from '../../packages/sv/package.json' with { type: 'json' };
import addon from '../../packages/sv/src/index.js';

const work = mkdtempSync(join(tmpdir(), 'sv-addon-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** A fresh app, as `sv create` makes it, and files that are laid over it. */
function createApp(types: LanguageType, over: Record<string, string> = {}): string {
	const cwd = mkdtempSync(join(work, 'app-'));
	create({ cwd, name: 'app', template: 'minimal', types });
	for (const [path, text] of Object.entries(over)) {
		mkdirSync(dirname(join(cwd, path)), { recursive: true });
		writeFileSync(join(cwd, path), text);
	}
	return cwd;
}

async function addTo(cwd: string, options: { inngest?: '3' | '4'; event?: string } = {}) {
	return add({ cwd, addons: { addon }, options: { [addon.id]: options }, packageManager: 'npm' });
}

/** Text of every file of an app, by path. */
function filesOf(cwd: string): Record<string, string> {
	const entries = readdirSync(cwd, { recursive: true, withFileTypes: true });
	return Object.fromEntries(
		entries
			.filter((entry) => entry.isFile())
			.map(({ parentPath, name }) => join(parentPath, name))
			.map((path) => [path.slice(cwd.length + 1), readFileSync(path, 'utf8')])
	);
}

function changes(before: Record<string, string>, after: Record<string, string>): string[] {
	return Object.keys(after)
		.filter((path) => before[path] !== after[path])
		.sort();
}

const BASE = [
	'src/lib/realtime/channels',
	'src/lib/realtime/demo-message',
	'src/lib/server/demo-function',
	'src/lib/server/inngest',
	'src/routes/api/events/+server',
	'src/routes/api/inngest/+server'
];
const PAGE = ['src/routes/realtime/+page.svelte', 'src/routes/realtime/Live.svelte'];
const EVENT = [
	'src/lib/realtime/orders-create',
	'src/lib/server/orders-create',
	'src/lib/server/orders-create.test'
];

describe('the sv add-on', () => {
	test('has no dependencies, which `sv add` refuses, and the version of the package it adds', () => {
		expect(addonManifest).not.toHaveProperty('dependencies');
		expect(addonManifest.version).toBe(manifest.version);
	});

	test.each([
		{ types: 'typescript', extension: '.ts' },
		{ types: 'checkjs', extension: '.js' }
	] as const)('writes what an app lacks: $types', async ({ types, extension }) => {
		const cwd = createApp(types);
		const before = filesOf(cwd);
		await addTo(cwd, { event: 'orders/create' });
		const after = filesOf(cwd);
		const written = [...BASE, ...EVENT].map((path) => path + extension);
		expect(changes(before, after)).toEqual(
			[...written, ...PAGE, 'package.json', `vite.config${extension}`].sort()
		);
		expect(after[`vite.config${extension}`]).toMatch(/plugins: \[\s*inngestDev\(\),\s*sveltekit\(/);
		expect(JSON.parse(after['package.json']!)).toMatchObject({
			scripts: { test: 'vitest run' },
			dependencies: {
				inngest: '^4.1.0',
				zod: '^4.0.0',
				'sveltekit-inngest': `^${manifest.version}`
			},
			devDependencies: { vitest: '^4.1.0' }
		});
		expect(after[`src/routes/api/events/+server${extension}`]).toMatch(
			/ordersCreate: ordersCreateHandler/
		);
	});

	test('changes nothing the second time', async () => {
		const cwd = createApp('typescript');
		await addTo(cwd, { event: 'orders/create' });
		const before = filesOf(cwd);
		await addTo(cwd, { event: 'orders/create' });
		await addTo(cwd);
		await addTo(cwd, { inngest: '3' });
		expect(changes(before, filesOf(cwd))).toEqual([]);
	});

	test('adds further events to the endpoint that is there', async () => {
		const cwd = createApp('typescript');
		await addTo(cwd, { event: 'orders/create' });
		const before = filesOf(cwd);
		await addTo(cwd, { event: 'jobs.cancel_all' });
		const after = filesOf(cwd);
		expect(changes(before, after)).toEqual([
			'src/lib/realtime/jobs-cancel-all.ts',
			'src/lib/server/jobs-cancel-all.test.ts',
			'src/lib/server/jobs-cancel-all.ts',
			'src/routes/api/events/+server.ts'
		]);
		expect(after['src/routes/api/events/+server.ts']).toMatch(
			/ordersCreate: ordersCreateHandler,\s+jobsCancelAll: jobsCancelAllHandler/
		);
	});

	test('leaves alone what it finds, and uses the Inngest client that is there', async () => {
		const mine = {
			'src/inngest/client.ts':
				"import { Inngest } from 'inngest';\nexport const client = new Inngest({ id: 'mine' });\n",
			'src/lib/realtime/channels.ts': 'export const mine = 1;\n',
			'src/routes/(app)/api/events/+server.ts': "export const GET = () => new Response('mine');\n",
			'src/routes/realtime/+page.svelte': '<p>mine</p>\n'
		};
		const cwd = createApp('typescript', mine);
		await addTo(cwd, { event: 'orders/create' });
		const after = filesOf(cwd);
		expect(after).toMatchObject(mine);
		expect(Object.keys(after)).not.toContain('src/lib/server/inngest.ts');
		expect(Object.keys(after)).not.toContain('src/routes/api/events/+server.ts');
		expect(after['src/routes/api/inngest/+server.ts']).toContain(
			"import { client } from '../../../inngest/client';"
		);
		expect(after['src/lib/server/orders-create.ts']).toContain(
			"import { demoChannel } from '$lib/realtime/demo-channel';"
		);
	});

	test('keeps to the generation of inngest that the app has', async () => {
		const cwd = createApp('typescript');
		const app = JSON.parse(readFileSync(join(cwd, 'package.json'), 'utf8'));
		app.dependencies = { inngest: '^3.54.0' };
		writeFileSync(join(cwd, 'package.json'), JSON.stringify(app));
		await addTo(cwd);
		const after = filesOf(cwd);
		expect(JSON.parse(after['package.json']!).dependencies).toMatchObject({
			inngest: '^3.54.0',
			'@inngest/realtime': '^0.4.6'
		});
		expect(after['src/lib/realtime/channels.ts']).toContain("from '@inngest/realtime'");
	});

	test('writes the imports of SvelteKit 3', async () => {
		const cwd = createApp('typescript');
		const app = JSON.parse(readFileSync(join(cwd, 'package.json'), 'utf8'));
		app.devDependencies['@sveltejs/kit'] = '^3.0.0';
		writeFileSync(join(cwd, 'package.json'), JSON.stringify(app));
		await addTo(cwd);
		const after = filesOf(cwd);
		expect(JSON.parse(after['package.json']!).imports).toEqual({
			'#lib': './src/lib/index.js',
			'#lib/*': './src/lib/*'
		});
		expect(after['src/routes/realtime/+page.svelte']).toContain("from '#lib/realtime/channels.ts'");
	});

	test.each(['orders create', '/orders', '__proto__/x', '1', 'a//b'])(
		'refuses the name %j for an event',
		async (event) => {
			const cwd = createApp('typescript');
			const before = filesOf(cwd);
			const { status } = await addTo(cwd, { event });
			expect(status[addon.id]).not.toBe('success');
			expect(changes(before, filesOf(cwd))).toEqual([]);
		}
	);
});
