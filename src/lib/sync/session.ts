import { DEFAULT_ENDPOINT } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import type { EventIssue } from '../protocol/event.js';
import { useBus } from './line/bus.js';
import type { Line, LineOwner } from './line/line.js';
import type { SyncClientOptions } from './options.js';
import { Puller } from './pull/puller.js';
import { Versions } from './pull/versions.js';
import { Pusher, type WriteRefusal } from './push/pusher.js';
import { createPost } from './push/post.js';
import { markOf } from './shared/mark.js';
import type { SyncAction, SyncKey, TableDefinition } from './shared/table.js';
import {
	channelName,
	type ChangeMessage,
	type RowChange,
	type RowWrite,
	type WriteAnswer
} from './shared/wire.js';
import { Copy, type CopiedTable, type Settled } from './storage/copy.js';
import { laneOf, type Database, type OutboxEntry } from './storage/database.js';
import type { ServerRow } from './storage/show.js';

/** A refused row. */
export interface RefusedRow {
	table: string;
	action: SyncAction;
	write: RowWrite;
	status: number;
	message: string;
	issues: readonly EventIssue[];
	/** Whether the server does not know the version of the table any more. */
	isOutdated: boolean;
}

/** What all tabs show of the one that syncs: plain data, for errors lose their code on the way. */
export interface SessionState {
	/** Whether the endpoint can be reached. */
	isOnline: boolean;
	/** By the names of tables. */
	tables: Record<string, { isFetching: boolean; error?: Pick<RealtimeError, 'code' | 'message'> }>;
}

/** Who a session works for. */
export interface SessionHost {
	database: Database;
	tables: readonly CopiedTable[];
	options: Pick<SyncClientOptions, 'bus' | 'endpoint' | 'fetch' | 'refreshMs'>;
	/** Its state has changed. */
	changed(state: SessionState): void;
	/** A write has left the outbox. */
	settled(entry: OutboxEntry, refused: readonly RefusedRow[]): void;
	/** A table stopped. */
	stopped(error: RealtimeError): void;
	/** The copy could not be written. */
	failed(error: unknown): void;
}

/** A table and what follows the server for it. */
interface Followed extends CopiedTable {
	puller: Puller;
	/** Ids whose rows the reader receives. */
	scopes: readonly string[];
	/** Whether something was received since the last fetch. */
	hasNews: boolean;
	/** What was received while it is fetched: the fetch may bring what is newer. */
	deferred: RowChange[];
}

/** Changes that wait for the end of a fetch; of more, the next fetch tells. */
const MAX_DEFERRED = 10_000;

/**
 * The work of the tab that syncs: it listens, fetches and sends. It starts when it is created and ends with `close`.
 * Loaded when the tab begins to lead.
 */
export class Session {
	readonly #host: SessionHost;
	readonly #copy: Copy;
	readonly #tables = new Map<string, Followed>();
	readonly #versions = new Versions();
	readonly #pusher: Pusher;
	readonly #timer: ReturnType<typeof setInterval> | undefined;
	/** What changes the copy runs one after another. */
	#order: Promise<unknown> = Promise.resolve();
	#line: Line | undefined;
	#isConnected = false;
	#isReached = true;
	#isClosed = false;

	constructor(host: SessionHost, entries: readonly OutboxEntry[]) {
		const { database, tables, options } = host;
		const { refreshMs = 300_000 } = options;
		const post = createPost(options);
		this.#host = host;
		this.#copy = new Copy(database);
		this.#pusher = new Pusher({
			table: (name) => this.#ready(name),
			post,
			settle: (entry, answer) => this.#answered(entry, answer),
			reached: (failure) => this.#reached(failure)
		});
		for (const table of tables) {
			const puller = new Puller(table, {
				copy: this.#copy,
				versions: this.#versions,
				post,
				inOrder: (work) => this.#inOrder(work),
				scopes: (name, scopes) => this.#listen(name, scopes),
				reached: (failure) => this.#reached(failure),
				changed: () => {
					this.#flush(table.definition.name);
					this.#pusher.pump();
					this.tell();
				},
				onError: (error) => host.stopped(error)
			});
			this.#tables.set(table.definition.name, {
				...table,
				puller,
				scopes: [],
				hasNews: false,
				deferred: []
			});
		}
		if (refreshMs !== false) {
			this.#timer = setInterval(() => this.#refresh(), refreshMs);
			(this.#timer as { unref?: () => void }).unref?.();
		}
		void this.#begin(entries);
	}

	/** Tells how it is doing. */
	tell(): void {
		const tables = [...this.#tables].map(([name, { puller }]) => {
			const { isFetching, error } = puller;
			const told = error && { error: { code: error.code, message: error.message } };
			return [name, { isFetching, ...told }] as const;
		});
		this.#host.changed({
			isOnline: this.#isReached && this.#isConnected,
			tables: Object.fromEntries(tables)
		});
	}

	/** What is in the outbox now. */
	update(entries: readonly OutboxEntry[]): void {
		this.#pusher.update(entries);
	}

	/** Tries at once what waits or has stopped. */
	retry(): void {
		if (!this.#isConnected) this.#line?.reconnect();
		for (const { puller } of this.#tables.values()) puller.tell('retry');
		this.#pusher.retry();
	}

	close(): void {
		this.#isClosed = true;
		clearInterval(this.#timer);
		this.#pusher.close();
		this.#line?.close();
		for (const { puller } of this.#tables.values()) puller.tell('stop');
	}

	async #begin(entries: readonly OutboxEntry[]): Promise<void> {
		const owner: LineOwner = {
			message: (channel, message, eventId) => this.#receive(channel, message, eventId),
			gap: (channel) => this.#tableOf(channel)?.puller.tell('gap'),
			connected: (isConnected) => {
				if (isConnected === this.#isConnected) return;
				this.#isConnected = isConnected;
				if (isConnected) this.#pusher.retry();
				// A process that died may have written something that it did not announce.
				else for (const table of this.#tables.values()) table.hasNews = true;
				this.tell();
			}
		};
		for (const { puller } of this.#tables.values()) puller.tell('start');
		this.#pusher.update(entries);
		for (const table of this.#tables.values()) {
			// What was known before is listened to at once.
			const { scopes } = await this.#copy.meta(table).catch(() => ({ scopes: undefined }));
			if (table.scopes.length === 0) table.scopes = scopes ?? [];
		}
		const { bus, endpoint = DEFAULT_ENDPOINT, fetch = globalThis.fetch } = this.#host.options;
		// Who has a bus does not pay for a stream of its own.
		const line = bus
			? useBus(owner, bus)
			: (await import('./line/stream.js')).openStream(owner, { endpoint, fetch });
		if (this.#isClosed) return line.close();
		this.#line = line;
		this.#subscribe();
	}

	/** The table of a write that may be sent: what is to be merged needs the server's rows first. */
	#ready(name: string): TableDefinition | undefined {
		const { merge, puller, definition } = this.#tables.get(name) ?? {};
		return merge && puller?.state !== 'current' ? undefined : definition;
	}

	#inOrder<T>(work: () => Promise<T>): Promise<T> {
		const done = this.#order.then(() => {
			// Another tab may follow by now, and have newer rows.
			if (this.#isClosed) throw new RealtimeError('CLOSED', 'This tab does not sync any more.');
			return work();
		});
		this.#order = done.catch(() => {});
		return done;
	}

	/** Takes over the answer to a write: after a fetch, if its rows may have become newer in the meantime. */
	async #answered(entry: OutboxEntry, answer: WriteAnswer | WriteRefusal): Promise<void> {
		if (await this.#inOrder(() => this.#settle(entry, answer))) return;
		const isFetched = await this.#tables.get(entry.table)!.puller.fetched();
		await this.#inOrder(() => this.#settle(entry, answer, isFetched));
	}

	/** @returns whether that was possible without a fetch. */
	async #settle(
		entry: OutboxEntry,
		answer: WriteAnswer | WriteRefusal,
		isFetched?: boolean
	): Promise<boolean> {
		const table = this.#tables.get(entry.table)!;
		const { name, version } = table.definition;
		const isForeign = 'results' in answer && answer.version !== version;
		const refused: RefusedRow[] = [];
		const taken = new Map<string, string>();
		const results = entry.rows.map((write, index): Settled => {
			const result = 'results' in answer ? answer.results[index] : { refused: answer };
			if (!result) return undefined;
			if ('refused' in result) {
				const { action } = entry;
				const why = { issues: [], isOutdated: false, ...result.refused };
				refused.push({ table: name, action, write, ...why });
				return undefined;
			}
			// Rows of another version are fetched.
			if (isForeign) return 'written';
			const { stamp, row } = result;
			const lane = laneOf(name, write.key);
			if (!this.#versions.isNews(name, lane, stamp)) return undefined;
			taken.set(lane, stamp);
			return { key: write.key, row };
		});
		const isFirst = await this.#copy.settle(table, entry, results, isFetched);
		if (isFirst === undefined) return false;
		for (const [lane, stamp] of taken) this.#versions.note(lane, stamp);
		// A write is often refused because its row has changed.
		if (isForeign || refused.length > 0) table.puller.tell('gap');
		table.hasNews = true;
		this.#host.settled(entry, isFirst ? refused : []);
		return true;
	}

	/** Takes a message of a channel over. */
	#receive(channel: string, { version, changes }: ChangeMessage, eventId?: string): void {
		const table = this.#tableOf(channel);
		if (!table) return;
		// What was written here comes with the answer.
		if (changes.length > 0 && eventId !== undefined && this.#pusher.has(eventId)) return;
		table.hasNews = true;
		// Something changed, or rows of another version: the fetch says what.
		if (changes.length === 0 || version !== table.definition.version) table.puller.tell('gap');
		else {
			table.deferred.push(...changes);
			this.#flush(table.definition.name);
		}
	}

	/** Takes over what was received, unless the table is fetched now. */
	#flush(name: string): void {
		const table = this.#tables.get(name);
		if (!table || table.deferred.length === 0) return;
		const { puller } = table;
		if (puller.state === 'current' || puller.state === 'stopped') {
			const changes = table.deferred.splice(0);
			this.#inOrder(() => this.#take(table, changes)).catch((error: unknown) => {
				this.#host.failed(error);
				// What it said is fetched.
				puller.tell('gap');
			});
		} else if (table.deferred.length > MAX_DEFERRED) {
			table.deferred.length = 0;
			puller.tell('gap');
		}
	}

	async #take(table: Followed, changes: readonly RowChange[]): Promise<void> {
		const { name } = table.definition;
		const found = new Map<string, ServerRow>();
		for (const change of changes) {
			const { stamp } = change;
			const key = keyOf(table, change);
			const lane = laneOf(name, key);
			const marks = 'gone' in change ? (change.except ?? []) : [];
			// It is gone for others.
			if (table.scopes.some((scope) => marks.includes(markOf(scope, stamp)))) continue;
			if (!this.#versions.isNews(name, lane, stamp)) continue;
			if (this.#versions.isUnsure(lane, stamp)) {
				table.puller.tell('gap');
				continue;
			}
			this.#versions.note(lane, stamp);
			if ('row' in change) found.set(lane, { key, row: change.row });
			else if ('gone' in change) found.set(lane, { key, row: null });
			else {
				const known = found.has(lane)
					? found.get(lane)!.row
					: await this.#copy.serverRow(table, key);
				if (known) found.set(lane, { key, row: { ...known, ...change.fields } });
				else table.puller.tell('gap');
			}
		}
		if (found.size > 0) await this.#copy.take(table, [...found.values()]);
	}

	#tableOf(channel: string): Followed | undefined {
		return this.#tables.get(channel.split(':')[1] ?? '');
	}

	/** Listens to the channels of these scopes of a table. */
	#listen(name: string, scopes: readonly string[]): void {
		const table = this.#tables.get(name)!;
		if (table.scopes.join('\n') === scopes.join('\n')) return;
		table.scopes = scopes;
		this.#subscribe();
	}

	#subscribe(): void {
		const channels = [...this.#tables.values()].flatMap(({ definition, scopes }) => [
			channelName(definition),
			...scopes.map((scope) => channelName(definition, scope))
		]);
		this.#line?.update(channels);
	}

	#refresh(): void {
		for (const table of this.#tables.values()) {
			if (!table.hasNews) continue;
			table.hasNews = false;
			table.puller.tell('gap');
		}
	}

	#reached(failure: string | undefined): void {
		const isReached = failure === undefined;
		if (isReached === this.#isReached) return;
		this.#isReached = isReached;
		if (isReached) this.#pusher.retry();
		this.tell();
	}
}

/** The key of a row that changed. */
function keyOf({ definition }: CopiedTable, change: RowChange): SyncKey {
	if ('row' in change) return change.row[definition.key] as SyncKey;
	return 'gone' in change ? change.gone : change.key;
}
