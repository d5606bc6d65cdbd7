/** Calls `task` for each item, at most `limit` at a time; the next begins as soon as one is done. */
export async function eachLimited<T>(
	items: readonly T[],
	limit: number,
	task: (item: T) => Promise<void>
): Promise<void> {
	const rest = items.values();
	const worker = async (): Promise<void> => {
		for (const item of rest) await task(item);
	};
	await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
}
