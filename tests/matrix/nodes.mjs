// Node binaries of several majors, from npm.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { npm } from './npm.mjs';
import { run } from './processes.mjs';

/** Installs the majors that are asked for. @returns a map from major to binary. */
export async function installNodes(majors, folder) {
	const current = Number(process.versions.node.split('.')[0]);
	const missing = majors.filter((major) => major !== current);
	await mkdir(folder, { recursive: true });
	await writeFile(join(folder, 'package.json'), '{ "private": true }');
	const platform = `node-${process.platform}-${process.arch}`;
	const packages = missing.map((major) => `node${major}@npm:${platform}@${major}`);
	if (packages.length > 0)
		await run(process.execPath, npm('install', ...packages), { cwd: folder });
	return new Map(
		majors.map((major) => [
			major,
			major === current
				? process.execPath
				: join(folder, 'node_modules', `node${major}`, 'bin', 'node')
		])
	);
}
