/**
 * A number that stands for a scope in the word that a row is gone. Who has the scope recognises it; to others it
 * says nothing, and it is another one each time.
 *
 * @returns 53 bits (cyrb53).
 */
export function markOf(scope: string, stamp: string): number {
	let one = 0xdeadbeef;
	let other = 0x41c6ce57;
	for (const character of `${stamp} ${scope}`) {
		const code = character.codePointAt(0)!;
		one = Math.imul(one ^ code, 2654435761);
		other = Math.imul(other ^ code, 1597334677);
	}
	one = Math.imul(one ^ (one >>> 16), 2246822507) ^ Math.imul(other ^ (other >>> 13), 3266489909);
	other = Math.imul(other ^ (other >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909);
	return 2 ** 32 * (other & 0x1fffff) + (one >>> 0);
}
