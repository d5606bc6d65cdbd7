import { getRequestEvent } from '$app/server';
import { error, type RequestEvent } from '@sveltejs/kit';
import { demoChannel } from '$demo/channels.js';
import { counterOf } from './counter.js';
import { findEngine, isStopped } from './engine.js';
import { realtime } from './realtime.js';

/**
 * Data that the pages read through SvelteKit's `query.live`. For example, `stats.remote.ts` says
 * `export const liveStats = query.live(stats)`.
 */

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The numbers of this process, once a second. */
export async function* stats() {
	for (;;) {
		yield realtime.stats();
		await wait(1_000);
	}
}

/**
 * Messages of the demo channel, from the feed that serves the browsers. `subscribe()` does not
 * authorize, so this function does.
 */
export function messages({ locals, request }: RequestEvent) {
	if (!locals.user) error(403, 'Sign in to read the demo channel');
	return realtime.subscribe(demoChannel, { topics: ['message'], signal: request.signal });
}

/** The state of the counter and of Inngest. It does not use the stream that the page breaks. */
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
