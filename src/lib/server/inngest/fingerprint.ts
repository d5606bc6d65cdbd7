import type { SourceMessage } from '../hub/source.js';

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

/** 64 bits of FNV-1a in two lanes: enough to distinguish messages of one topic and one instant. */
function hash(text: string): string {
	let low = 0x811c9dc5;
	let high = 0xcbf29ce4;
	for (let index = 0; index < text.length; index++) {
		const code = text.charCodeAt(index);
		low = Math.imul(low ^ code, 0x01000193);
		high = Math.imul(high ^ (code + index), 0x01000193);
	}
	return (low >>> 0).toString(36) + (high >>> 0).toString(36);
}
