import { resolveChannelFeed } from './access/registry.js';
import type { RealtimeChannelConfig } from './access/options.js';
import type { Hub } from './hub/hub.js';
import { isBuild } from './runtime/runtime.js';

/**
 * Brings the channels of `warm` entries live, so that their logs begin before the first reader.
 *
 * @returns a function that ends this.
 */
export function warmFeeds(
	hub: Hub,
	registry: Readonly<Record<string, RealtimeChannelConfig>>
): () => void {
	if (isBuild) return () => {};
	let feeds = Object.values(registry)
		.filter(({ warm }) => warm)
		.map(({ channel, channelParams }) =>
			hub.enter(resolveChannelFeed(registry, channel, { channelParams }).feed)
		);
	return () => {
		for (const feed of feeds) hub.leave(feed);
		feeds = [];
	};
}
