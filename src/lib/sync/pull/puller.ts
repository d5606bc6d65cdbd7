import { backoffMs } from '../../protocol/backoff.js';
import { RealtimeError } from '../../protocol/errors.js';
import { newId } from '../outbox/id.js';
import { request, type Post } from '../push/post.js';
import { eventName, type FetchAnswer, type SyncCursor } from '../shared/wire.js';
import type { SyncKey } from '../shared/table.js';
import type { CopiedTable, Copy } from '../storage/copy.js';
import { laneOf } from '../storage/database.js';
import type { ServerRow } from '../storage/show.js';
import { TRANSITIONS, type PullEvent, type PullState } from './machine.js';
import type { Versions } from './versions.js';

/** What a puller works for. */
export interface PullerOwner {
	copy: Copy;
	versions: Versions;
	post: Post;
	/** Runs what changes the copy after what was given before. */
	inOrder<T>(work: () => Promise<T>): Promise<T>;
	/** Told which ids the reader receives rows of. */
	scopes(table: string, scopes: readonly string[]): void;
	/** Told when the endpoint is reached again, or is not any more. */
	reached(failure: string | undefined): void;
	changed(): void;
	onError(error: RealtimeError): void;
}

/** Answers in a row with nothing but another cursor, after which nothing more is expected. */
const MAX_BLANKS = 10;
/** How often a fetch may begin anew, because of resets or other scopes of the reader, before it waits. */
const MAX_MOVES = 10;
/** Resets in a row, after which it waits: the database may be in the middle of being restored. */
const MAX_RESETS = 3;
/** How often in a row a page is asked for again that an answer to a write has overtaken. */
const MAX_REPEATS = 5;
/** Rows that a page asks for. */
const LIMIT = 1_000;
/** The first and the longest wait, in milliseconds, after a fault. */
const MIN_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;

/** One fetch, of as many pages as there are. */
interface Fetch {
	readonly end: AbortController;
	/** When it began, by the clock of the server. */
	stamp: string;
	/** Cursors that were asked for; coming back to one is no way forward. */
	readonly cursors: Set<string>;
	stalls: number;
	/** Answers in a row that were a reset. */
	resets: number;
	/** How often in a row the same page was asked for. */
	repeats: number;
	/** Answers in a row that had nothing but another cursor. */
	blanks: number;
	/** The ids whose rows the reader receives, as one text. */
	scopes: string | undefined;
	/** How often it began anew. */
	moves: number;
	/** Rows that are kept, where it brings everything. */
	kept: Set<string> | undefined;
	/** Where the next page begins. */
	cursor: SyncCursor;
	/** Whether the cursor of each page is stored: not while rows are here that may have to go. */
	isStored: boolean;
}

/** Fetches what changed of one table. Its states and events are those of `docs/guides/sync.md`. */
export class Puller {
	readonly #table: CopiedTable;
	readonly #owner: PullerOwner;
	#state: PullState = 'off';
	#fetch: Fetch | undefined;
	/** How many fetches have begun. */
	#begun = 0;
	/** Who waits for a fetch later than one of these. */
	#waiting: { after: number; resolve: (isFetched: boolean) => void }[] = [];
	/** How often the fetch before the next one came no further. */
	#stalls = 0;
	#failures = 0;
	/** How long the endpoint asks to wait. */
	#retryAfterMs = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** Why it stopped, or waits. */
	error: RealtimeError | undefined;

	constructor(table: CopiedTable, owner: PullerOwner) {
		this.#table = table;
		this.#owner = owner;
	}

	get state(): PullState {
		return this.#state;
	}

	get isFetching(): boolean {
		return this.#state === 'fetching' || this.#state === 'again';
	}

	/**
	 * Fetches what is new.
	 *
	 * @returns `true` when a fetch that began after this call has ended, `false` when the table is stopped or off.
	 */
	fetched(): Promise<boolean> {
		return new Promise((resolve) => {
			this.#waiting.push({ after: this.#begun, resolve });
			this.tell('gap');
		});
	}

	/** Something happened. */
	tell(event: PullEvent): void {
		const [next, effect] = TRANSITIONS[this.#state][event];
		const before = this.#state;
		this.#state = next;
		if (event === 'end') this.#release(true, ({ after }) => after < this.#begun);
		if (next === 'stopped' || next === 'off') this.#release(false, () => true);
		if (effect === 'fetch') void this.#begin();
		else if (effect === 'next') void this.#page(this.#fetch!);
		else if (effect === 'wait') {
			const backoff = backoffMs(this.#failures++, MIN_DELAY_MS, MAX_DELAY_MS);
			const waitMs = Math.max(backoff, this.#retryAfterMs);
			this.#timer = setTimeout(() => this.tell('timer'), waitMs);
		} else if (effect === 'abort') {
			clearTimeout(this.#timer);
			this.#fetch?.end.abort();
		}
		if (next !== before) this.#owner.changed();
	}

	#release(isFetched: boolean, isOver: (one: { after: number }) => boolean): void {
		const over = this.#waiting.filter(isOver);
		this.#waiting = this.#waiting.filter((one) => !over.includes(one));
		for (const { resolve } of over) resolve(isFetched);
	}

	async #begin(): Promise<void> {
		this.#begun++;
		clearTimeout(this.#timer);
		const end = new AbortController();
		this.#fetch?.end.abort();
		const fetch: Fetch = {
			end,
			stamp: '',
			cursors: new Set(),
			stalls: this.#stalls,
			resets: 0,
			repeats: 0,
			blanks: 0,
			scopes: undefined,
			moves: 0,
			kept: undefined,
			cursor: null,
			isStored: true
		};
		this.#fetch = fetch;
		this.#stalls = 0;
		try {
			const { cursor } = await this.#owner.copy.meta(this.#table);
			fetch.cursor = cursor;
			if (cursor === null) await this.#everything(fetch);
		} catch (error) {
			return this.#failed(fetch, error);
		}
		await this.#page(fetch);
	}

	/** From here on the fetch brings everything; what it does not bring goes. */
	async #everything(fetch: Fetch): Promise<void> {
		fetch.kept = new Set();
		fetch.isStored = await this.#owner.copy.isEmpty(this.#table);
	}

	async #page(fetch: Fetch): Promise<void> {
		const { definition } = this.#table;
		const outcome = await request<FetchAnswer>(
			this.#owner.post,
			{
				event: eventName(definition, 'fetch'),
				id: newId(),
				v: definition.version,
				data: { cursor: fetch.cursor, limit: LIMIT }
			},
			fetch.end.signal
		);
		if (fetch.end.signal.aborted) return;
		if ('failed' in outcome && outcome.status !== 403) {
			if (outcome.status !== 500) this.#owner.reached(outcome.failed);
			this.#retryAfterMs = outcome.retryAfterMs;
			this.error = new RealtimeError('SYNC_OFFLINE', outcome.failed);
			this.tell('fail');
			return;
		}
		this.#owner.reached(undefined);
		this.#retryAfterMs = 0;
		if (!('result' in outcome)) {
			const isOutdated = 'refused' in outcome && outcome.refused.reason === 'outdated';
			const text = 'refused' in outcome ? outcome.refused.error : outcome.failed;
			this.#stop('refuse', isOutdated ? 'SYNC_OUTDATED' : 'SYNC_DENIED', text);
			return;
		}
		try {
			await this.#owner.inOrder(() => this.#take(fetch, outcome.result));
		} catch (error) {
			this.#failed(fetch, error);
		}
	}

	async #take(fetch: Fetch, answer: FetchAnswer): Promise<void> {
		if (fetch.end.signal.aborted) return;
		const { copy, versions } = this.#owner;
		const { name, key } = this.#table.definition;
		const { scopes: known, cursor: stored } = await copy.meta(this.#table);
		if (fetch.end.signal.aborted) return;
		const scopes = answer.scopes.join('\n');
		const before = fetch.scopes ?? (stored === null ? scopes : known?.join('\n'));
		this.#owner.scopes(name, answer.scopes);
		fetch.stamp ||= answer.stamp;
		fetch.scopes = scopes;
		// Who is in another team now has rows that have not changed: everything is fetched again.
		if (before !== undefined && before !== scopes) {
			if (++fetch.moves > MAX_MOVES) return this.#stall('fail');
			await copy.change(this.#table, () =>
				copy.note(this.#table, { cursor: null, scopes: answer.scopes })
			);
			return this.#restart(fetch, null);
		}
		const { rows, deleted, cursor } = answer;
		const found: ServerRow[] = [
			...deleted.map((key) => ({ key, row: null })),
			...rows.map((row) => ({ key: row[key] as SyncKey, row }))
		];
		const overtaken = new Set(
			found
				.map((one) => laneOf(name, one.key))
				.filter((lane) => versions.isNewer(lane, answer.stamp))
		);
		// It may have been read after that write, and contain later ones: its cursor would skip them.
		if (overtaken.size > 0 && fetch.repeats++ < MAX_REPEATS) return this.tell('page');
		fetch.repeats = 0;
		const asked = JSON.stringify(fetch.cursor);
		fetch.resets = answer.reset ? fetch.resets + 1 : 0;
		if (answer.reset) {
			if (fetch.resets >= MAX_RESETS || ++fetch.moves > MAX_MOVES) return this.#stall('fail');
			await this.#everything(fetch);
			fetch.cursors.clear();
			// What earlier pages brought may be gone.
			fetch.stamp = answer.stamp;
		}
		fetch.cursors.add(asked);
		const isBlank = rows.length === 0 && deleted.length === 0;
		fetch.blanks = isBlank ? fetch.blanks + 1 : 0;
		const isBack = fetch.cursors.has(JSON.stringify(cursor));
		// A server that reads first and filters then has pages of which nothing is left.
		const isEnd = isBlank && (isBack || fetch.blanks >= MAX_BLANKS);
		const fresh = found.filter((one) => {
			const lane = laneOf(name, one.key);
			if (one.row) fetch.kept?.add(lane);
			if (overtaken.has(lane)) return false;
			versions.note(lane, answer.stamp, answer.until);
			return true;
		});
		const note = (more: object): Promise<void> =>
			copy.note(this.#table, { scopes: answer.scopes, ...more });
		if (!isEnd) {
			await copy.take(this.#table, fresh, () => note(fetch.isStored ? { cursor } : {}));
			// Where another fetch follows, that one is the second try.
			if (isBack && (++fetch.stalls >= 2 || this.#state === 'again')) return this.#stall('stall');
			fetch.cursor = cursor;
			return this.tell('page');
		}
		const { kept } = fetch;
		const done = (): Promise<void> => note({ cursor, lastSyncAt: new Date().toISOString() });
		if (kept) {
			const isKept = (lane: string): boolean =>
				kept.has(lane) || versions.isNewer(lane, fetch.stamp);
			await copy.keepOnly(this.#table, isKept, done);
		} else await copy.take(this.#table, [], done);
		versions.end(name, fetch.stamp);
		this.#failures = 0;
		this.error = undefined;
		this.tell('end');
	}

	async #restart(fetch: Fetch, cursor: SyncCursor): Promise<void> {
		fetch.cursor = cursor;
		fetch.cursors.clear();
		fetch.stamp = '';
		await this.#everything(fetch);
		this.tell('page');
	}

	/** @param event Whether it stops, or may do better later. */
	#stall(event: 'stall' | 'fail'): void {
		const { name } = this.#table.definition;
		const text =
			event === 'stall'
				? `did not bring the cursor further twice. Return the cursor after the last row, and call retry().`
				: 'began again too often, because of resets or other teams. It is tried again later.';
		this.#stop(event, 'SYNC_STALLED', `The fetch of table "${name}" ${text}`);
	}

	#stop(event: 'stall' | 'refuse' | 'fail', code: RealtimeError['code'], text: string): void {
		const [next] = TRANSITIONS[this.#state][event];
		// Another fetch begins at once. It has no second try if this one came no further.
		if (next === 'fetching') {
			this.#stalls = event === 'stall' ? 1 : 0;
			return this.tell(event);
		}
		const isKnown = this.error?.code === code;
		this.error = new RealtimeError(code, text);
		// Once, and not each time that it is tried again.
		if (next === 'stopped' || !isKnown) this.#owner.onError(this.error);
		this.tell(event);
	}

	/** The copy could not be read or written. */
	#failed({ end }: Fetch, error: unknown): void {
		if (end.signal.aborted) return;
		const known = this.error?.code;
		this.error =
			error instanceof RealtimeError
				? error
				: new RealtimeError('SYNC_STORAGE', String(error), { cause: error });
		if (this.error.code !== known) this.#owner.onError(this.error);
		this.tell('fail');
	}
}
