/**
 * What SvelteKit generates for an app, and what the pages take for granted of one, as files that only
 * the compiler sees: in reach of this package's own code they would declare things twice. Packages that
 * an app may have and this one has not are declared as far as the pages use them.
 */

import type { Block } from './markdown.js';

/** Where the compiler is told to find them. */
const FOLDER = new URL('../virtual/', import.meta.url).pathname;

/** Used where no page shows an `app.d.ts` of its own. */
export const APP = `${FOLDER}app.ts`;
export const ENV = `${FOLDER}env.ts`;
/** Stands for the `./$types` of any route; a route's data is what its `load` returns, rarely shown. */
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
		}
		declare module 'redis' {
			export function createClient(options: {
				url: string | undefined;
				disableOfflineQueue?: boolean;
			}): {
				connect(): Promise<unknown>;
				destroy(): void;
				on(event: 'error', listener: (error: Error) => void): unknown;
				eval(
					script: string,
					options?: { keys?: string[]; arguments?: string[] }
				): Promise<string | number | unknown[] | null>;
			};
		}`,
	[TYPES]: `
		import type { Snippet } from 'svelte';
		export type {
			Actions,
			Load as LayoutLoad,
			Load as PageLoad,
			RequestHandler,
			ServerLoad as LayoutServerLoad,
			ServerLoad as PageServerLoad
		} from '@sveltejs/kit';
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

/** Files of an app that pages import and need not show: those of the quick start, until it shows them. */
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
