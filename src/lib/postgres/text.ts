import { createHash } from 'node:crypto';

/** @returns a hash of a text of any length, as the database keeps it: a UUID. */
export function hash(text: string): string {
	const hex = createHash('sha256').update(text).digest('hex');
	return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/**
 * Text as the database can keep it, which has no NUL. JSON never contains one, so that what is sent is
 * kept as it is.
 */
export function escapeText(text: string): string {
	return text.replaceAll('\u0001', '\u0001b').replaceAll('\0', '\u0001a');
}

/** @returns the text that {@link escapeText} escaped. */
export function unescapeText(text: string): string {
	return text.replaceAll('\u0001a', '\0').replaceAll('\u0001b', '\u0001');
}
