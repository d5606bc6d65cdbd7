import { fileExists, isKit3, loadFile, resolveLibPrefix } from '@sveltejs/sv-utils';
import { existsSync, readdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { Workspace } from 'sv';

/** The app that the add-on changes: where things are, and what exists already. */
export interface App {
	language: 'ts' | 'js';
	/** Generation of Inngest's SDK. */
	sdk: 3 | 4;
	/** Folder of shared code, such as `src/lib`. */
	lib: string;
	/** Folder of routes, such as `src/routes`. */
	routes: string;
	/** The Inngest client: its module and its name there. */
	client: { path: string; name: string };
	/** The module that the demo's channel is in. */
	channels: string;
	/**
	 * The module that calls `createRealtime`, or will. @default undefined if the file is used for something else
	 */
	endpoint: string | undefined;
	/** The route that serves functions to Inngest. */
	functionsRoute: string;
	/** Whether a file exists, in either language. */
	has(path: string): boolean;
	/** Text of a file; empty if there is none. */
	read(path: string): string;
	/** How to import a module of the app. */
	specifier(from: string, to: string): string;
}

const CLIENT = /export const (\w+)(?:: *\w+)? = new Inngest\b/;
const ENDPOINT = /\bcreateRealtime(?:Endpoint)?\(/;

/** @param wanted The generation of the SDK to use if the app has none yet. */
export function readApp(workspace: Omit<Workspace, 'file'>, wanted: string): App {
	const { cwd, language, directory, dependencyVersion } = workspace;
	const { src, lib, kitRoutes: routes } = directory;
	const kit = dependencyVersion('@sveltejs/kit');
	const sources = listFiles(cwd, src).filter((path) => /(?<!\.test|\.spec|\.d)\.[jt]s$/.test(path));
	const read = (path: string): string => loadFile(cwd, path);
	const find = (pattern: RegExp): string | undefined =>
		sources.find((path) => pattern.test(read(path)));
	const route = (url: string): string | undefined =>
		sources.find((path) => urlOf(path, routes) === url);
	const has = (path: string): boolean =>
		['.ts', '.js', ''].some((extension) => fileExists(cwd, path.replace(/\.[jt]s$/, extension)));

	const clientPath = find(CLIENT);
	const channels = `${lib}/realtime/channels.${language}`;
	const isOthers = has(channels) && !read(channels).includes('demoChannel');
	const events = route('/api/events');
	return {
		language,
		sdk: (dependencyVersion('inngest') ?? wanted).startsWith('3') ? 3 : 4,
		lib,
		routes,
		client: clientPath
			? { path: clientPath, name: CLIENT.exec(read(clientPath))![1]! }
			: { path: `${lib}/server/inngest.${language}`, name: 'inngest' },
		channels: isOthers ? `${lib}/realtime/demo-channel.${language}` : channels,
		endpoint: find(ENDPOINT) ?? (events ? undefined : `${routes}/api/events/+server.${language}`),
		functionsRoute: route('/api/inngest') ?? `${routes}/api/inngest/+server.${language}`,
		has,
		read,
		specifier(from, to) {
			// The bundler of SvelteKit 3 needs the real names of files.
			const path = isKit3(kit) ? to : to.replace(/\.[jt]s$/, '');
			if (to.startsWith(`${lib}/`)) return resolveLibPrefix(kit) + path.slice(lib.length);
			const relative = posix.relative(posix.dirname(from), path);
			return relative.startsWith('.') ? relative : `./${relative}`;
		}
	};
}

/** Files below a folder of the app, by their path in the app. */
function listFiles(cwd: string, folder: string): string[] {
	if (!existsSync(join(cwd, folder))) return [];
	return readdirSync(join(cwd, folder), { recursive: true, encoding: 'utf8' })
		.map((path) => posix.join(folder, path.replaceAll('\\', '/')))
		.sort();
}

/** Address of a route's `+server` file; groups are not part of it. */
function urlOf(path: string, routes: string): string | undefined {
	const match = /^(.*)\/\+server\.[jt]s$/.exec(path);
	if (!match || !path.startsWith(`${routes}/`)) return undefined;
	return match[1]!.slice(routes.length).replace(/\/\([^/]+\)/g, '');
}
