import { FULL_ENGINE, unsupported } from '../warnings.js';
import type { Warnings } from '../warnings.js';

/** A function needs something that would change what it does and that the engine does not support. */
export class UnsupportedError extends Error {}

/** Settings that decide only when steps run. Without them a function does the same, perhaps sooner. */
const TIMING = ['concurrency', 'priority', 'throttle'];

/** Settings without which a function would run more often than it should, or with other events. */
const ESSENTIAL = ['batchEvents', 'debounce', 'idempotency', 'rateLimit', 'singleton', 'timeouts'];

/**
 * Names the settings of a function that the engine does not have.
 *
 * @throws {UnsupportedError} if the function would not work as intended.
 */
export function checkSupport(
	{ id, ...config }: { id: string; [setting: string]: unknown },
	warnings: Warnings
): void {
	const isUsed = (setting: string): boolean =>
		config[setting] !== undefined && config[setting] !== null;
	const missing = ESSENTIAL.filter(isUsed);
	if (missing.length > 0) {
		throw new UnsupportedError(`${unsupported(id, missing.join(', '))}. ${FULL_ENGINE}`);
	}
	for (const setting of TIMING.filter(isUsed)) {
		warnings.unsupported(id, setting, 'it runs without it, and so at once');
	}
}
