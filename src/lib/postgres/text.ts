import { createHash } from 'node:crypto';

/** @returns a hash of a text of any length, in the form that the database stores: a UUID. */
export function hash(text: string): string {
	const hex = createHash('sha256').update(text).digest('hex');
	return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/**
 * Text that the database can store: without NUL. JSON never contains one, so messages are stored unchanged.
 */
export function escapeText(text: string): string {
	return text.replaceAll('\u0001', '\u0001b').replaceAll('\0', '\u0001a');
}

/** @returns the text that {@link escapeText} escaped. */
export function unescapeText(text: string): string {
	return text.replaceAll('\u0001a', '\0').replaceAll('\u0001b', '\u0001');
}
