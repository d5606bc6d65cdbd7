/**
 * Characters that a terminal interprets instead of showing them: controls, line separators, and marks that
 * change the direction of a text.
 */
// eslint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Makes a text from outside safe for a log: on one line, with control characters escaped. */
export function printable(text: string): string {
	return text.replace(
		UNSAFE,
		(character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
	);
}

/** A name in double quotes, safe for a log. */
export function quoted(name: string): string {
	return printable(JSON.stringify(name));
}
