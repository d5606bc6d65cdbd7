/**
 * Requests of this process that are being authorized now, over all endpoints: after a deploy all pages
 * reconnect at once, and the app's database should not get all their queries at once.
 */
let starting = 0;

/** @returns how many of the `wanted` places were taken. Give each one back with `leaveStarting`. */
export function enterStarting(wanted: number, limit: number): number {
	const taken = Math.max(0, Math.min(wanted, limit - starting));
	starting += taken;
	return taken;
}

export function leaveStarting(): void {
	starting--;
}
