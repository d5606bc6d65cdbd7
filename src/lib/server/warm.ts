import type { Registry } from './access/registry.js';
import type { Hub } from './hub/hub.js';
import { isBuild } from './runtime/runtime.js';

/**
 * Brings the channels of `warm` entries live, so that their logs start before the first reader.
 *
 * @returns a function that stops this.
 */
export function warmFeeds(hub: Hub, registry: Registry): () => void {
	if (isBuild) return () => {};
	let feeds = registry.warmFeeds.map((spec) => hub.enter(spec));
	return () => {
		for (const feed of feeds) hub.leave(feed);
		feeds = [];
	};
}
