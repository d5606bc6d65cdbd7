/**
 * A text for a log: on one line, and with control characters escaped. Names of events and answers of apps
 * must not be able to control the terminal.
 */
export function printable(text: string): string {
	return text.replace(/\s+/g, ' ').replace(/[\p{Cc}\p{Cf}]/gu, (character) => {
		const code = character.codePointAt(0)!.toString(16);
		return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`;
	});
}
