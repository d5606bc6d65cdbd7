import type { LogEntry } from './entry.js';

/**
 * Entries of one tick for all readers of the same topics. The first reader joins their bytes, once for all.
 */
export class Batch {
	readonly entries: readonly LogEntry[];
	/** Whether some readers have received a part of it before. */
	readonly hasRepeats: boolean;
	#chunk: Uint8Array | undefined;

	constructor(entries: readonly LogEntry[]) {
		this.entries = entries;
		this.hasRepeats = entries.some(({ heardBefore }) => heardBefore > 0);
	}

	get chunk(): Uint8Array {
		return (this.#chunk ??= joinBytes(this.entries.map(({ frame }) => frame)));
	}
}

/** @returns the parts as one array; a single part is not copied. */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
	if (parts.length === 1) return parts[0]!;
	const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
	let offset = 0;
	for (const part of parts) {
		joined.set(part, offset);
		offset += part.length;
	}
	return joined;
}
