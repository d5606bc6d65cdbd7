import { getRequestEvent } from '$app/server';
import { error, type RequestEvent } from '@sveltejs/kit';
import { demoChannel } from '$demo/channels.js';
import { counterOf } from './counter.js';
import { findEngine, isStopped } from './engine.js';
import { realtime } from './realtime.js';

/**
 * What the pages read by SvelteKit's own `query.live`, as in
 * `export const liveStats = query.live(stats)` of `stats.remote.ts`.
 */

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** How the endpoint of this process is doing, once a second. */
export async function* stats() {
	for (;;) {
		yield realtime.stats();
		await wait(1_000);
	}
}

/**
 * Messages of the demo channel, from the feed that serves the browsers. `subscribe()` authorizes
 * nobody: that is done here.
 */
export function messages({ locals, request }: RequestEvent) {
	if (!locals.user) error(403, 'Sign in to read the demo channel');
	return realtime.subscribe(demoChannel, { topics: ['message'], signal: request.signal });
}

/** How counting and breaking go, told past the stream that is being broken. */
export async function* trouble() {
	const { name } = getRequestEvent().locals.person;
	for (;;) {
		yield {
			counter: counterOf(name).state,
			upstream: realtime.stats().hub.sources.inngest,
			isEmbedded: (await findEngine()) !== undefined,
			isStopped: isStopped()
		};
		await wait(250);
	}
}
