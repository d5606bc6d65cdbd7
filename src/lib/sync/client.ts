import { liveQuery, type Subscription } from 'dexie';
import { RealtimeError } from '../protocol/errors.js';
import { lead } from './leader.js';
import type {
	SyncClientOptions,
	SyncClient as SyncClientType,
	SyncControls,
	SyncPending,
	SyncStatus,
	SyncTables
} from './options.js';
import { addWrites, type Prepare } from './outbox/add.js';
import { newId } from './outbox/id.js';
import { parts } from './outbox/parts.js';
import type { RefusedRow, Session, SessionState } from './session.js';
import { Clock, isStamp } from './shared/clock.js';
import type { SyncKey, TableDefinition } from './shared/table.js';
import type { RowWrite } from './shared/wire.js';
import { Changes } from './signal.js';
import type { CopiedTable } from './storage/copy.js';
import {
	Database,
	laneOf,
	reopened,
	type OutboxEntry,
	type TableMeta
} from './storage/database.js';
import { createSyncTable } from './tables/table.js';

/** What tabs tell each other: the one that syncs tells how it is doing, and what was refused. */
type Word = { refused: RefusedRow } | { state: SessionState } | { ask: 'tell' | 'retry' };

/** How long, in milliseconds, to wait before code is loaded again that could not be. */
const LOAD_AGAIN_MS = 5_000;

/**
 * Local copies of tables that follow the server and send their writes. See `docs/guides/sync.md`. On the server,
 * where there is no IndexedDB, it does nothing.
 */
class Client implements SyncControls {
	readonly status: SyncStatus;
	readonly #options: SyncClientOptions;
	readonly #database: Database;
	readonly #changes = new Changes();
	readonly #clock = new Clock(newId().slice(0, 8));
	readonly #tables: CopiedTable[] = [];
	readonly #metas = new Map<string, TableMeta>();
	readonly #stops: (() => void)[] = [];
	readonly #ready: Promise<boolean>;
	#entries: readonly OutboxEntry[] = [];
	#session: Session | undefined;
	/** How the tab is doing that syncs. */
	#state: SessionState | undefined;
	#leads = false;
	#isClosed = false;
	#error: RealtimeError | null = null;
	#subscription: Subscription | undefined;
	#others: BroadcastChannel | undefined;

	constructor(options: SyncClientOptions) {
		check(options);
		const { name, tables, memory } = options;
		this.#options = options;
		const stores: Record<string, string> = {};
		for (const { table, indexes = [] } of Object.values(tables)) {
			stores[table.name] = [table.key, ...indexes].join(', ');
		}
		this.#database = new Database({
			name,
			stores,
			migrate: () => import('./storage/migrate.js'),
			definitions: Object.values(tables).map(({ table }) => table),
			memory,
			onError: (error) => this.#report(error)
		});
		for (const [property, { table, merge }] of Object.entries(tables)) {
			this.#tables.push({ definition: table, merge: merge as CopiedTable['merge'] });
			const value = createSyncTable(table, {
				rows: () => this.#database.table(table.name),
				write: (keys, prepare) => this.#write(table, keys, prepare),
				local: async (work) => {
					await this.#opened();
					return this.#database.write([table.name], () => work(this.#database.table(table.name)));
				}
			});
			Object.defineProperty(this, property, { value, enumerable: true });
		}
		this.status = this.#createStatus();
		const isServer = !globalThis.indexedDB && !memory && typeof document === 'undefined';
		this.#ready = isServer ? Promise.resolve(false) : this.#open();
	}

	get pending(): readonly SyncPending[] {
		this.#changes.track();
		return this.#entries.map(({ id, table, action, rows, createdAt }) => ({
			id,
			table,
			action,
			keys: rows.map(({ key }) => key),
			createdAt
		}));
	}

	retry(): void {
		if (this.#session) this.#session.retry();
		else this.#say({ ask: 'retry' });
	}

	async clear(): Promise<void> {
		await this.#ready;
		this.#end();
		await this.#database.clear();
		this.#forget();
	}

	close(): void {
		this.#isClosed = true;
		this.#end();
		this.#others?.close();
		this.#database.close();
	}

	#createStatus(): SyncStatus {
		const rune = (get: () => unknown): PropertyDescriptor => ({
			enumerable: true,
			get: () => {
				this.#changes.track();
				return get();
			}
		});
		const tables = Object.entries(this.#options.tables).map(([property, { table }]) => {
			const now = () => this.#state?.tables[table.name];
			const status = Object.defineProperties(
				{},
				{
					lastSyncAt: rune(() => {
						const at = this.#metas.get(table.name)?.lastSyncAt;
						return at === undefined ? null : new Date(at);
					}),
					isFetching: rune(() => now()?.isFetching ?? false),
					error: rune(() => {
						const { error } = now() ?? {};
						return error ? new RealtimeError(error.code, error.message) : null;
					})
				}
			);
			return [property, status] as const;
		});
		return Object.defineProperties(
			{ tables: Object.fromEntries(tables) },
			{
				online: rune(
					() => globalThis.navigator?.onLine !== false && (this.#state?.isOnline ?? !this.#leads)
				),
				leads: rune(() => this.#leads),
				pending: rune(() => this.#entries.length),
				error: rune(() => this.#error)
			}
		) as SyncStatus;
	}

	/** Opens the copy, and follows it. @returns whether that was possible. */
	async #open(): Promise<boolean> {
		const { name } = this.#options;
		try {
			await this.#database.open();
			const { meta, outbox } = this.#database;
			this.#setMetas(await meta.toArray());
			const clock = (await meta.get('clock'))?.value;
			if (isStamp(clock)) this.#clock.observe(clock);
			this.#setEntries(await outbox.toArray());
		} catch (error) {
			if (this.#isClosed) return false;
			const text = `The local copy "${name}" cannot be opened (${String(error)}).`;
			this.#report(
				error instanceof RealtimeError
					? error
					: new RealtimeError('SYNC_STORAGE', text, { cause: error })
			);
			return false;
		}
		if (this.#isClosed) return false;
		this.#recovered();
		this.#watch();
		reopened.add(this.#watch);
		this.#hear();
		const online = (): void => {
			this.#changes.emit();
			this.retry();
		};
		const offline = (): void => this.#changes.emit();
		globalThis.addEventListener?.('online', online);
		globalThis.addEventListener?.('offline', offline);
		this.#stops.push(
			() => reopened.delete(this.#watch),
			() => globalThis.removeEventListener?.('online', online),
			() => globalThis.removeEventListener?.('offline', offline),
			lead(name, () => this.#lead())
		);
		return true;
	}

	/** @throws {RealtimeError} `SYNC_STORAGE` where the copy could not be opened, `CLOSED` after the end. */
	async #opened(): Promise<void> {
		const isOpen = await this.#ready;
		if (isOpen && this.#stops.length > 0) return;
		if (this.#error && (!isOpen || this.#error.code === 'SYNC_OUTDATED')) throw this.#error;
		const why = isOpen || this.#isClosed ? 'was closed' : 'does not exist on the server';
		throw new RealtimeError('CLOSED', `The local copy "${this.#options.name}" ${why}.`);
	}

	/** Follows what all tabs write into the copy. */
	readonly #watch = (): void => {
		this.#subscription?.unsubscribe();
		const { outbox, meta } = this.#database;
		const query = liveQuery(() => Promise.all([outbox.toArray(), meta.toArray()]));
		this.#subscription = query.subscribe({
			next: ([entries, metas]) => {
				const end = this.#database.endOf(metas.find(({ key }) => key === 'life')?.value);
				if (end) {
					this.#end();
					if (end.code === 'SYNC_OUTDATED') this.#report(end);
					else this.#forget();
					return;
				}
				this.#setMetas(metas);
				this.#setEntries(entries);
			},
			error: () => {}
		});
	};

	/** Hears what other tabs say. */
	#hear(): void {
		if (typeof BroadcastChannel === 'undefined') return;
		this.#others = new BroadcastChannel(`sveltekit-inngest sync ${this.#options.name}`);
		(this.#others as { unref?: () => void }).unref?.();
		this.#others.onmessage = ({ data }: MessageEvent<Word>) => {
			if ('refused' in data) this.#rejected(data.refused);
			else if ('ask' in data) this.#session?.[data.ask]();
			else if (!this.#session) this.#show(data.state);
		};
		this.#say({ ask: 'tell' });
	}

	#say(word: Word): void {
		this.#others?.postMessage(word);
	}

	/** Shows how the tab is doing that syncs. */
	#show(state?: SessionState): void {
		this.#state = state;
		this.#changes.emit();
	}

	#forget(): void {
		this.#metas.clear();
		this.#setEntries([]);
	}

	/** This tab is the one that syncs. @returns a function that ends it. */
	#lead(): () => void {
		let isOver = false;
		const begin = async (): Promise<void> => {
			// Tabs that do not lead do not need it.
			const { Session } = await import('./session.js');
			if (isOver) return;
			this.#session = new Session(
				{
					database: this.#database,
					tables: this.#tables,
					options: this.#options,
					changed: (state) => {
						this.#show(state);
						this.#say({ state });
					},
					settled: (entry, refused) => {
						this.#setEntries(this.#entries.filter(({ id }) => id !== entry.id));
						for (const one of refused) {
							this.#say({ refused: one });
							this.#rejected(one);
						}
					},
					stopped: (error) => queueMicrotask(() => this.#options.onError?.(error)),
					failed: (error) => this.#failed(error)
				},
				this.#entries
			);
		};
		const load = (): void => {
			begin().catch(() => {
				// Offline, or in the middle of a deploy.
				if (!isOver) setTimeout(load, LOAD_AGAIN_MS);
			});
		};
		this.#leads = true;
		this.#show();
		load();
		return () => {
			isOver = true;
			this.#leads = false;
			this.#session?.close();
			this.#session = undefined;
			this.#show();
		};
	}

	/** Stops following; the copy stays open. */
	#end(): void {
		this.#subscription?.unsubscribe();
		for (const stop of this.#stops.splice(0)) stop();
	}

	/** Writes rows here and into the outbox. */
	async #write(
		{ name, version }: TableDefinition,
		keys: readonly SyncKey[],
		prepare: Prepare
	): Promise<RowWrite[]> {
		await this.#opened();
		try {
			const written = await addWrites(this.#database, name, keys, prepare, (one) =>
				parts(one.rows, name).map((rows) => ({
					id: newId(),
					table: name,
					action: one.action,
					rows,
					lanes: rows.map(({ key }) => laneOf(name, key)),
					version,
					stamp: this.#clock.tick(),
					createdAt: new Date().toISOString()
				}))
			);
			const ids = new Set(this.#entries.map(({ id }) => id));
			this.#setEntries([...this.#entries, ...written.filter(({ id }) => !ids.has(id))]);
			this.#recovered();
			return written.flatMap(({ rows }) => rows);
		} catch (error) {
			this.#failed(error);
			throw error;
		}
	}

	#setEntries(entries: readonly OutboxEntry[]): void {
		this.#entries = entries;
		this.#session?.update(entries);
		this.#changes.emit();
	}

	#setMetas(metas: readonly TableMeta[]): void {
		for (const meta of metas) {
			const [, name] = meta.key.split('table ');
			if (name) this.#metas.set(name, meta);
		}
	}

	#rejected({ table, action, write, status, message, issues, isOutdated }: RefusedRow): void {
		// What the app's callbacks throw is their own.
		const error = new RealtimeError(isOutdated ? 'SYNC_OUTDATED' : 'SYNC_REFUSED', message);
		const { key, row = null } = write;
		queueMicrotask(() =>
			this.#options.onRejected?.({ table, action, key, row, error, status, issues })
		);
	}

	/** Reports what is wrong with the storage. */
	#failed(error: unknown): void {
		if (error instanceof RealtimeError && error.code.startsWith('SYNC_')) this.#report(error);
	}

	#report(error: RealtimeError): void {
		this.#error = error;
		queueMicrotask(() => this.#options.onError?.(error));
		this.#changes.emit();
	}

	/** The storage works, unless it is memory that took its place. */
	#recovered(): void {
		if (!this.#error || (this.#error.code === 'SYNC_STORAGE' && this.#options.memory)) return;
		this.#error = null;
		this.#changes.emit();
	}
}

const CONTROLS = ['status', 'pending', 'retry', 'clear', 'close', 'then'];

function check({ name, tables }: SyncClientOptions): void {
	if (typeof name !== 'string' || name === '') {
		invalid(
			'A SyncClient needs a `name`. Use the id of the user: people who share a browser must not share rows.'
		);
	}
	const names = new Set<string>();
	for (const [property, { table }] of Object.entries(tables ?? {})) {
		if (!table?.schema)
			invalid(`\`tables.${property}.table\` is not a table: pass what defineTable() returns.`);
		if (CONTROLS.includes(property))
			invalid(`A table cannot be called \`${property}\` in a SyncClient.`);
		if (names.has(table.name)) invalid(`Table "${table.name}" is in \`tables\` twice.`);
		names.add(table.name);
	}
	if (names.size === 0) invalid('`tables` is empty: name at least one table.');
}

function invalid(message: string): never {
	throw new RealtimeError('INVALID_OPTION', message);
}

/**
 * Keeps local copies of tables, and sends what is written to them. Reads are Dexie's own. Writes go to the copy
 * first.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work.
 * @example
 * ```ts
 * const sync = new SyncClient({
 *   name: user.id,
 *   tables: { todos: { table: todos, indexes: ['done'] } }
 * });
 * await sync.todos.add({ id: crypto.randomUUID(), title: 'Tea', done: false });
 * ```
 */
export const SyncClient = Client as unknown as {
	new <const TTables extends SyncTables>(
		options: SyncClientOptions<TTables>
	): SyncClientType<TTables>;
};

/** A client with its tables. */
export type SyncClient<TTables extends SyncTables> = SyncClientType<TTables>;
