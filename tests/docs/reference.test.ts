import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './support/markdown.js';

const read = (folder: string): Record<string, string> =>
	Object.fromEntries(
		readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')])
	);

test('the reference is what the code says: otherwise run `npm run docs:reference`', () => {
	const folder = mkdtempSync(join(tmpdir(), 'reference-'));
	try {
		execFileSync(process.execPath, [`${ROOT}scripts/reference.mjs`, folder], { stdio: 'pipe' });
		const made = read(folder);
		const committed = read(`${ROOT}docs/reference`);
		expect(Object.keys(committed)).toEqual(Object.keys(made));
		for (const [name, text] of Object.entries(made)) {
			expect(committed[name] === text, `docs/reference/${name} is out of date`).toBe(true);
		}
		expect(Object.values(made).join()).not.toContain(ROOT);
	} finally {
		rmSync(folder, { recursive: true });
	}
}, 300_000);
