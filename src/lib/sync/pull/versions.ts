/**
 * Which version of each row this tab has taken over, so that a message or an answer that comes late does not
 * replace a newer one.
 */
export class Versions {
	readonly #taken = new Map<string, string>();
	/** Rows that were taken over while a table is fetched, by the table. */
	readonly #touched = new Map<string, Set<string>>();
	/** When the last fetch of each table began, by the clock of the server. */
	readonly #fetched = new Map<string, string>();

	/**
	 * Takes a version over, unless it is older than what is here.
	 *
	 * @param isRow Whether it brings the row; the word that a row is gone counts less than the row with the same
	 *   stamp.
	 * @returns whether it is newer.
	 */
	take(table: string, lane: string, stamp: string, isRow: boolean): boolean {
		const version = `${stamp} ${Number(isRow)}`;
		if (version <= (this.#taken.get(lane) ?? '')) return false;
		this.#taken.set(lane, version);
		this.#touched.get(table)?.add(lane);
		return true;
	}

	/** Forgets everything: this tab did not follow for a while. */
	clear(): void {
		for (const map of [this.#taken, this.#touched, this.#fetched]) map.clear();
	}

	/** Whether what was written then is in the last fetch. */
	isFetched(table: string, stamp: string): boolean {
		return stamp < (this.#fetched.get(table) ?? '');
	}

	/** A fetch of a table begins. */
	begin(table: string): void {
		this.#touched.set(table, new Set());
	}

	/** Whether a row was taken over since the fetch began. */
	isTouched(table: string, lane: string): boolean {
		return this.#touched.get(table)?.has(lane) === true;
	}

	/** A fetch has ended that began then. */
	end(table: string, stamp: string): void {
		this.#fetched.set(table, stamp);
		this.#touched.delete(table);
	}
}
