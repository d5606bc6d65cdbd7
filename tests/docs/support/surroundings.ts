/**
 * What SvelteKit generates for an app, and what the pages expect of one, as files that only the compiler
 * sees. If this package's own code could see them, they would declare things twice. Packages that are not
 * installed here are declared as far as the pages use them.
 */

import type { Block } from './markdown.js';

/** Folder of these files, for the compiler. */
const FOLDER = new URL('../virtual/', import.meta.url).pathname;

/** Used if no page shows its own `app.d.ts`. */
export const APP = `${FOLDER}app.ts`;
export const ENV = `${FOLDER}env.ts`;
/** The `./$types` of every route. A route's data is what its `load` returns, which pages rarely show. */
export const TYPES = `${FOLDER}types.ts`;

export const SURROUNDINGS: Record<string, string> = {
	[APP]: `declare namespace App {
		interface Locals {
			user: { id: string; name: string; role: 'admin' | 'member' } | null;
		}
	}`,
	[ENV]: `
		declare module '$env/dynamic/private' {
			export const env: Record<string, string | undefined>;
		}
		declare module '$env/dynamic/public' {
			export const env: Record<string, string | undefined>;
		}`,
	[TYPES]: `
		import type { Snippet } from 'svelte';
		import type {
			Actions as ActionsOf,
			Load,
			RequestHandler as RequestHandlerOf,
			ServerLoad
		} from '@sveltejs/kit';
		/** The real ones name the parameters of their route. */
		type Params = Record<string, any>;
		export type Actions = ActionsOf<Params>;
		export type RequestHandler = RequestHandlerOf<Params>;
		export type LayoutLoad = Load<Params>;
		export type PageLoad = Load<Params>;
		export type LayoutServerLoad = ServerLoad<Params>;
		export type PageServerLoad = ServerLoad<Params>;
		export interface PageProps {
			data: any;
			form: any;
			params: Record<string, string>;
		}
		export interface LayoutProps {
			data: any;
			params: Record<string, string>;
			children: Snippet;
		}`
};

const shown = (file: string, text: string): Block => ({
	page: 'any app',
	line: 1,
	lang: 'ts',
	file,
	generation: 4,
	text
});

/** Files that every page may import without showing them. The README's quick start shows its own. */
export const COMMON: Block[] = [
	shown(
		'src/lib/realtime/channels.ts',
		`import { realtime } from 'inngest/realtime';
		import { z } from 'zod';
		const message = { schema: z.object({ message: z.string() }) };
		export const demoChannel = realtime.channel({
			name: 'demo',
			topics: { message, 'admin-message': message }
		});
		export const userChannel = realtime.channel({
			name: (userId: string) => \`user:\${userId}\`,
			topics: { message }
		});`
	),
	shown(
		'src/lib/server/inngest.ts',
		`import { Inngest } from 'inngest';
		export const inngest = new Inngest({ id: 'my-app' });`
	)
];
