/**
 * Which version of each row this tab has taken over, so that a message, an answer or a page that comes late does
 * not replace a newer one. Versions are stamps of the server's clock; a page of a fetch has the one of the
 * moment when the server began to read it.
 */
export class Versions {
	/** By lane. Rows that are older than the last fetch of their table need none. */
	readonly #taken = new Map<string, string>();
	/** When the last fetch of each table began. */
	readonly #fetched = new Map<string, string>();

	/** Forgets everything: this tab did not follow for a while. */
	clear(): void {
		this.#taken.clear();
		this.#fetched.clear();
	}

	/** Whether a version of a row is newer than what is here. */
	isNews(table: string, lane: string, stamp: string): boolean {
		return stamp >= (this.#fetched.get(table) ?? '') && stamp > (this.#taken.get(lane) ?? '');
	}

	/** Whether a row was taken over that is newer than a page. */
	isNewer(lane: string, stamp: string): boolean {
		return (this.#taken.get(lane) ?? '') > stamp;
	}

	/** Notes that this version of a row is here. */
	note(lane: string, stamp: string): void {
		this.#taken.set(lane, stamp);
	}

	/** A fetch has ended whose first page had this stamp: all that was written before is here. */
	end(table: string, stamp: string): void {
		this.#fetched.set(table, stamp);
		for (const [lane, version] of this.#taken) {
			if (version < stamp && lane.startsWith(`${table} `)) this.#taken.delete(lane);
		}
	}
}
