/** Between which stamps a row was read or written. */
interface Taken {
	from: string;
	to: string;
}

/**
 * Which version of each row this tab has, so that a message, an answer or a page that comes late does not replace
 * a newer one. Versions are stamps of the server's clock. A change has one; a page was read between two.
 */
export class Versions {
	/** By lane. Rows that are older than the last fetch of their table need none. */
	readonly #taken = new Map<string, Taken>();
	/** When the last fetch of each table began. */
	readonly #fetched = new Map<string, string>();

	/** Whether a change of a row may be newer than what is here. */
	isNews(table: string, lane: string, stamp: string): boolean {
		return stamp >= (this.#fetched.get(table) ?? '') && stamp > (this.#taken.get(lane)?.from ?? '');
	}

	/** Whether a page may already contain this change, and later ones: it was read at the same time. */
	isUnsure(lane: string, stamp: string): boolean {
		return stamp <= (this.#taken.get(lane)?.to ?? '');
	}

	/** Whether what is here of a row may be newer than a page. */
	isNewer(lane: string, stamp: string): boolean {
		return (this.#taken.get(lane)?.to ?? '') > stamp;
	}

	/** Notes that this version of a row is here. @param to The end of the page that it came with. */
	note(lane: string, from: string, to = from): void {
		this.#taken.set(lane, { from, to });
	}

	/** A fetch has ended whose first page had this stamp: all that was written before is here. */
	end(table: string, stamp: string): void {
		this.#fetched.set(table, stamp);
		for (const [lane, { to }] of this.#taken) {
			if (to < stamp && lane.startsWith(`${table} `)) this.#taken.delete(lane);
		}
	}
}
