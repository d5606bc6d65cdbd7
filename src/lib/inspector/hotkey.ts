const MODIFIERS = ['ctrl', 'alt', 'shift', 'meta'] as const;

/**
 * Whether a key was pressed with just these modifiers. The key is told by its place on the keyboard as
 * well as by its character, as Alt makes other characters of letters on some systems.
 */
export function isHotkey(hotkey: string, event: KeyboardEvent): boolean {
	const parts = hotkey.toLowerCase().split('+');
	const key = parts.pop();
	return (
		MODIFIERS.every((modifier) => event[`${modifier}Key`] === parts.includes(modifier)) &&
		(event.key.toLowerCase() === key || event.code.toLowerCase() === `key${key}`)
	);
}
