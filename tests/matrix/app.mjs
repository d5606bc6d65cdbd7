// A fixture app: made of templates, installed, checked and built.
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { npm } from './npm.mjs';
import { run } from './processes.mjs';

const NAME = 'sveltekit-inngest';
const TEMPLATES = fileURLToPath(new URL('./templates/', import.meta.url));

/** Variables of the `npm run` around that would mean this repository. */
const ENV = Object.fromEntries(
	Object.entries(process.env).filter(([key]) => !/^npm_(package|lifecycle|config_local)_/.test(key))
);

export class App {
	/**
	 * @param {import('./cells.mjs').Cell} cell
	 * @param {{ folder: string, tarball: string, node: string }} options
	 */
	constructor(cell, { folder, tarball, node }) {
		this.cell = cell;
		this.folder = folder;
		this.tarball = tarball;
		this.node = node;
	}

	env(more = {}) {
		// Tools that look for `node` find the one of this cell.
		return { ...ENV, PATH: `${join(this.node, '..')}:${ENV.PATH}`, CI: 'true', ...more };
	}

	bin(name, ...args) {
		return this.#run([join(this.folder, 'node_modules', ...name.split('/')), ...args]);
	}

	#run(args) {
		return run(this.node, args, { cwd: this.folder, env: this.env() });
	}

	async generate() {
		await mkdir(this.folder, { recursive: true });
		for (const template of this.cell.templates) {
			await cp(join(TEMPLATES, template), this.folder, { recursive: true });
		}
		const manifest = {
			private: true,
			type: 'module',
			dependencies: {
				'@types/node': '^20',
				'svelte-check': '^4',
				typescript: '^6',
				zod: '^4',
				...this.cell.packages,
				[NAME]: `file:${this.tarball}`
			},
			...(this.cell.overrides && { overrides: this.cell.overrides })
		};
		await writeFile(join(this.folder, 'package.json'), JSON.stringify(manifest, null, '\t'));
	}

	/** @throws when npm refuses, or says anything of this package's peers. */
	async install() {
		const output = await this.#run(npm('install'));
		const warnings = output.split('\n').filter((line) => line.includes(NAME));
		if (warnings.length > 0) throw new Error(`npm warns:\n${warnings.join('\n')}`);
		const tree = await run(this.node, npm('ls', '--all', '--json'), {
			cwd: this.folder,
			env: this.env()
		}).catch((error) => error.message);
		const unmet = tree.split('\n').filter((line) => /invalid|missing|required by/i.test(line));
		const ours = unmet.filter((line) => new RegExp(`(from node_modules/|by )${NAME}`).test(line));
		if (ours.length > 0) throw new Error(`Peers do not fit:\n${ours.join('\n')}`);
	}

	/** The version of a package that was installed; `null` where there is none. */
	async version(name) {
		const path = join(this.folder, 'node_modules', name, 'package.json');
		return existsSync(path) ? JSON.parse(await readFile(path, 'utf8')).version : null;
	}

	/** Checks every file, and the declarations of packages. @returns how many errors others' have. */
	async check() {
		await this.bin('@sveltejs/kit/svelte-kit.js', 'sync');
		await this.bin('svelte-check/bin/svelte-check', '--fail-on-warnings');
		const others = await this.bin('typescript/bin/tsc', '--noEmit', '--skipLibCheck', 'false').then(
			() => [],
			(error) => error.message.split('\n').filter((line) => /error TS\d+/.test(line))
		);
		const ours = others.filter((line) => !/^node_modules\/(?!sveltekit-inngest\/)/.test(line));
		if (ours.length > 0) throw new Error(`Types do not fit:\n${ours.join('\n')}`);
		return others.length;
	}

	build() {
		return this.bin('vite/bin/vite.js', 'build');
	}
}
