/** A random id. Pages that are not served by HTTPS have no `randomUUID`. */
export function newId(): string {
	return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
		byte.toString(16).padStart(2, '0')
	).join('');
}
