import { derived, readable, type Readable } from 'svelte/store';
import type { ChannelRef } from './ref.js';

/** Raw data of one kind of event, as `select()` of `sveltekit-sse` returns it. */
export interface RealtimeSelected extends Readable<string> {
	/** The data parsed as JSON; `or` returns the value if it is not JSON. */
	json: <T>(
		or?: (payload: { error: Error; raw: string; previous: T | null }) => T | null
	) => Readable<T | null>;
	/** The data, converted. */
	transform: <T>(transformer: (value: string) => T | null) => Readable<T | null>;
}

/** Returns the raw data of the events of a name: `message`, `health` or `resync`. */
export type RealtimeSelect = (eventName: string) => RealtimeSelected;

type JsonFallback<T> = (payload: { error: Error; raw: string; previous: T | null }) => T | null;

/** The `select()` of `sveltekit-sse`, for the events of one channel. */
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
						return (previous = JSON.parse(text) as T);
					} catch (error) {
						return or({ error: error as Error, raw: text, previous });
					}
				});
			},
			transform: (transformer) => derived(raw, transformer)
		};
	};
}
