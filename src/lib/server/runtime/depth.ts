/**
 * Whether a value is nested more than so many levels deep. It uses no recursion, which could overflow the
 * stack.
 */
export function isDeeperThan(levels: number, value: unknown): boolean {
	let level: unknown[] = [value];
	for (let depth = 0; level.length > 0; depth++) {
		if (depth > levels) return true;
		level = level.flatMap((each) =>
			typeof each === 'object' && each !== null ? Object.values(each) : []
		);
	}
	return false;
}
