/**
 * Requests of this process that are being authorized now, whichever endpoint they came to: after a
 * deploy all pages come at once, and a database should not get all their questions at once.
 */
let starting = 0;

/** @returns how many of the `wanted` places were taken. Each is given back with `leaveStarting`. */
export function enterStarting(wanted: number, limit: number): number {
	const taken = Math.max(0, Math.min(wanted, limit - starting));
	starting += taken;
	return taken;
}

export function leaveStarting(): void {
	starting--;
}
