import type { SourceMessage } from '../hub/source.js';
import { hash } from '../runtime/hash.js';

/**
 * A fingerprint that all deliveries of one message share, over all sockets and processes. Equal messages that
 * were published within the resolution of `created_at` share it as well, so callers count them.
 */
export function fingerprint(message: Omit<SourceMessage, 'key'>): string {
	const { channel, topic, createdAt = '', streamId = '', kind, data } = message;
	return [channel, topic, createdAt, kind, streamId, hash(textOf(data))].join('\n');
}

function textOf(data: unknown): string {
	try {
		return JSON.stringify(data) ?? '';
	} catch {
		// Data can be nested too deeply for JSON.stringify; the other fields distinguish it.
		return '';
	}
}
