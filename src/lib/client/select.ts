import { derived, readable } from 'svelte/store';
import type { ChannelRef } from './hooks/ref.js';
import type { RealtimeSelect, RealtimeSelected } from './types.js';

type JsonFallback<T> = (payload: { error: Error; raw: string; previous: T | null }) => T | null;

/** `select()` as `sveltekit-sse` has it, for the events of one channel. */
export function createSelect(ref: ChannelRef): RealtimeSelect {
	return (eventName): RealtimeSelected => {
		const raw = readable('', (set) =>
			ref.follow((state) =>
				state.frames.listen(({ event, raw }) => {
					if (event === eventName) set(raw);
				})
			)
		);
		return {
			...raw,
			json<T>(or: JsonFallback<T> = () => null) {
				let previous: T | null = null;
				return derived(raw, (text): T | null => {
					try {
						previous = JSON.parse(text) as T;
					} catch (error) {
						return or({ error: error as Error, raw: text, previous });
					}
					return previous;
				});
			},
			transform: (transformer) => derived(raw, transformer)
		};
	};
}
