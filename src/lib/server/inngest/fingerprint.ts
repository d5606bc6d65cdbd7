import type { SourceMessage } from '../hub/source.js';
import { hash } from '../runtime/hash.js';

/**
 * What two deliveries of one message have in common, whichever socket or process they came through. Equal
 * messages that were published within the resolution of `created_at` share it, so callers count them.
 */
export function fingerprint(message: Omit<SourceMessage, 'key'>): string {
	const { channel, topic, createdAt = '', streamId = '', kind, data } = message;
	return [channel, topic, createdAt, kind, streamId, hash(textOf(data))].join('\n');
}

function textOf(data: unknown): string {
	try {
		return JSON.stringify(data) ?? '';
	} catch {
		// What was read can be nested too deeply to be written; the other fields distinguish it.
		return '';
	}
}
