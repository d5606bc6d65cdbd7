const MODIFIERS = ['ctrl', 'alt', 'shift', 'meta'] as const;

/**
 * Whether a key was pressed with exactly these modifiers. The key is recognised by its position on the
 * keyboard as well as by its character, because Alt turns letters into other characters on some systems.
 */
export function isHotkey(hotkey: string, event: KeyboardEvent): boolean {
	const parts = hotkey.toLowerCase().split('+');
	const key = parts.pop();
	return (
		MODIFIERS.every((modifier) => event[`${modifier}Key`] === parts.includes(modifier)) &&
		(event.key.toLowerCase() === key || event.code.toLowerCase() === `key${key}`)
	);
}
