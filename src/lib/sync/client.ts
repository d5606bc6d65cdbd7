import { liveQuery, type Subscription } from 'dexie';
import { DEFAULT_ENDPOINT } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import { useBus } from './line/bus.js';
import type { Line, LineOwner } from './line/line.js';
import { lead } from './leader.js';
import type {
	SyncClientOptions,
	SyncClient as SyncClientType,
	SyncControls,
	SyncPending,
	SyncRejection,
	SyncStatus,
	SyncTables
} from './options.js';
import { newId } from './outbox/id.js';
import { Pusher, type WriteRefusal } from './push/pusher.js';
import type { Post } from './push/post.js';
import { Puller } from './pull/puller.js';
import { Versions } from './pull/versions.js';
import { Clock, isStamp } from './shared/clock.js';
import type { SyncAction, SyncKey, SyncValues } from './shared/table.js';
import {
	channelName,
	type ChangeMessage,
	type RowChange,
	type RowWrite,
	type WriteAnswer
} from './shared/wire.js';
import { Changes } from './signal.js';
import { Copy, type CopiedTable, type ServerRow } from './storage/copy.js';
import {
	Database,
	laneOf,
	reopened,
	type OutboxEntry,
	type TableMeta
} from './storage/database.js';
import { createSyncTable } from './tables/table.js';

/** Most bytes, about, of one event: the endpoint takes 64 KiB. */
const MAX_EVENT_BYTES = 48 * 1024;

const headers = { 'content-type': 'application/json' };

/** A table and what follows the server for it. */
interface Followed extends CopiedTable {
	/** Name of the client's property. */
	property: string;
	puller: Puller;
	/** Ids whose rows the reader receives; nothing before the first answer. */
	scopes: readonly string[];
	meta: TableMeta | undefined;
	/** Whether something was received since the last fetch. */
	hasNews: boolean;
}

/**
 * Local copies of tables that follow the server, and whose writes are sent. See `docs/sync.md`. On the server,
 * where there is no IndexedDB, it does nothing.
 */
class Client implements SyncControls {
	readonly status: SyncStatus;
	readonly #options: SyncClientOptions;
	readonly #database: Database;
	readonly #copy: Copy;
	readonly #changes = new Changes();
	readonly #clock = new Clock(newId().slice(0, 8));
	readonly #tables = new Map<string, Followed>();
	readonly #stops: (() => void)[] = [];
	/** What may change the copy runs one after another. */
	#order: Promise<unknown> = Promise.resolve();
	readonly #versions = new Versions();
	/** Rows that were said to be gone, the last ones. */
	readonly #removed = new Recent<SyncValues>(1_000);
	#entries: readonly OutboxEntry[] = [];
	#pusher: Pusher | undefined;
	#line: Line | undefined;
	#isConnected = false;
	#isReached = true;
	#isClosed = false;
	#error: RealtimeError | null = null;
	/** Tells other tabs what was refused. */
	#others: BroadcastChannel | undefined;
	readonly #ready: Promise<boolean>;

	constructor(options: SyncClientOptions) {
		const { name, tables, memory } = options;
		check(options);
		this.#options = options;
		const stores: Record<string, string> = {};
		for (const { table, indexes = [] } of Object.values(tables)) {
			stores[table.name] = [table.key, ...indexes].join(', ');
		}
		this.#database = new Database({
			name,
			stores,
			memory,
			onError: (error) => this.#report(error)
		});
		this.#copy = new Copy(this.#database);
		for (const [property, { table, merge }] of Object.entries(tables)) {
			this.#addTable(property, { definition: table, merge: merge as CopiedTable['merge'] });
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
		this.#pusher?.retry();
		for (const { puller } of this.#tables.values()) puller.tell('retry');
	}

	async clear(): Promise<void> {
		await this.#ready;
		this.#end();
		await this.#database.clear();
		this.#others?.postMessage({ cleared: true });
		this.#setEntries([]);
		for (const table of this.#tables.values()) table.meta = undefined;
		this.#changes.emit();
	}

	close(): void {
		this.#end();
		this.#others?.close();
		this.#isClosed = true;
		this.#database.close();
	}

	#addTable(property: string, table: CopiedTable): void {
		const { definition } = table;
		const puller = new Puller(table, {
			copy: this.#copy,
			versions: this.#versions,
			post: this.#post,
			inOrder: (work) => this.#inOrder(work),
			scopes: (name, scopes) => this.#listen(name, scopes),
			reached: (failure) => this.#reached(failure),
			changed: () => this.#changes.emit(),
			onError: (error) => this.#options.onError?.(error)
		});
		this.#tables.set(definition.name, {
			...table,
			property,
			puller,
			scopes: [],
			meta: undefined,
			hasNews: false
		});
		const value = createSyncTable(definition, {
			rows: () => this.#database.table(definition.name),
			write: (action, prepare) => this.#write(table, action, prepare),
			local: async (work) => {
				await this.#opened();
				return this.#copy.local(definition.name, work);
			}
		});
		Object.defineProperty(this, property, { value, enumerable: true });
	}

	#createStatus(): SyncStatus {
		const read = <T>(value: () => T): T => {
			this.#changes.track();
			return value();
		};
		const tables = Object.fromEntries(
			[...this.#tables.values()].map(({ property, definition: { name } }) => {
				const table = (): Followed => this.#tables.get(name)!;
				return [
					property,
					{
						get lastSyncAt() {
							const at = read(() => table().meta?.lastSyncAt);
							return at === undefined ? null : new Date(at);
						},
						get isFetching() {
							return read(() => ['fetching', 'again'].includes(table().puller.state));
						},
						get error() {
							return read(() => table().puller.error ?? null);
						}
					}
				];
			})
		);
		const online = (): boolean =>
			globalThis.navigator?.onLine !== false &&
			(!this.#pusher || (this.#isReached && this.#isConnected));
		const leads = (): boolean => this.#pusher !== undefined;
		const pending = (): number => this.#entries.length;
		const error = (): RealtimeError | null => this.#error;
		return {
			get online() {
				return read(online);
			},
			get leads() {
				return read(leads);
			},
			get pending() {
				return read(pending);
			},
			get error() {
				return read(error);
			},
			tables
		};
	}

	/** Opens the copy, and follows it. @returns whether that was possible. */
	async #open(): Promise<boolean> {
		const { name } = this.#options;
		try {
			await this.#database.open();
			for (const table of this.#tables.values()) await this.#copy.migrate(table);
			const clock = (await this.#database.meta.get('clock'))?.value;
			if (isStamp(clock)) this.#clock.observe(clock);
			this.#setEntries(await this.#database.outbox.toArray());
			await this.#readMeta();
		} catch (error) {
			if (error instanceof RealtimeError) this.#report(error);
			else if (!this.#isClosed) throw error;
			return false;
		}
		if (this.#isClosed) return false;
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
		if (this.#error) throw this.#error;
		const why = isOpen || this.#isClosed ? 'was closed' : 'does not exist on the server';
		throw new RealtimeError('CLOSED', `The local copy "${this.#options.name}" ${why}.`);
	}

	/** Follows what all tabs write into the copy. */
	readonly #watch = (): void => {
		this.#subscription?.unsubscribe();
		const query = liveQuery(async () => [
			await this.#database.outbox.toArray(),
			await this.#database.meta.toArray()
		]);
		this.#subscription = query.subscribe({
			next: ([entries, metas]) => {
				this.#setEntries(entries as OutboxEntry[]);
				this.#setMeta(metas as TableMeta[]);
			},
			error: () => {}
		});
	};
	#subscription: Subscription | undefined;

	/** Hears of what other tabs were told. */
	#hear(): void {
		if (typeof BroadcastChannel === 'undefined') return;
		this.#others = new BroadcastChannel(`sveltekit-inngest sync ${this.#options.name}`);
		(this.#others as { unref?: () => void }).unref?.();
		this.#others.onmessage = ({ data }: MessageEvent) => {
			const { cleared, rejected } = data as { cleared?: true; rejected?: Told };
			if (cleared) this.#end();
			if (rejected) this.#tellRejected(rejected);
		};
	}

	/** This tab is the one that syncs. @returns a function that ends it. */
	#lead(): () => void {
		const { bus, refreshMs = 300_000 } = this.#options;
		let isOver = false;
		this.#versions.clear();
		this.#pusher = new Pusher({
			table: (name) => this.#tables.get(name)?.definition,
			post: this.#post,
			settle: (entry, answer) => this.#inOrder(() => this.#settle(entry, answer)),
			reached: (failure) => this.#reached(failure)
		});
		const owner: LineOwner = {
			message: (channel, message) => this.#receive(channel, message),
			gap: (channel) => this.#tableOf(channel)?.puller.tell('gap'),
			connected: (isConnected) => {
				if (isConnected && !this.#isConnected) this.#pusher?.retry();
				this.#isConnected = isConnected;
				this.#changes.emit();
			}
		};
		const open = (line: Line): void => {
			if (isOver) return line.close();
			this.#line = line;
			this.#subscribe();
		};
		if (bus) open(useBus(owner, bus));
		else {
			const { endpoint = DEFAULT_ENDPOINT, fetch = globalThis.fetch } = this.#options;
			// Who has a bus does not pay for a stream of its own.
			void import('./line/stream.js').then(({ openStream }) =>
				open(openStream(owner, { endpoint, fetch }))
			);
		}
		const timer = refreshMs === false ? undefined : setInterval(() => this.#refresh(), refreshMs);
		(timer as { unref?: () => void } | undefined)?.unref?.();
		for (const { puller } of this.#tables.values()) puller.tell('start');
		this.#pusher.update(this.#entries);
		this.#changes.emit();
		return () => {
			isOver = true;
			clearInterval(timer);
			this.#pusher?.close();
			this.#pusher = undefined;
			this.#line?.close();
			this.#line = undefined;
			this.#isConnected = false;
			for (const { puller } of this.#tables.values()) puller.tell('stop');
			this.#changes.emit();
		};
	}

	#end(): void {
		this.#subscription?.unsubscribe();
		for (const stop of this.#stops.splice(0)) stop();
	}

	readonly #post: Post = (body, signal) => {
		const settings = this.#options.bus?.settings();
		const { fetch = settings?.fetch ?? globalThis.fetch } = this.#options;
		const { endpoint = settings?.endpoint ?? DEFAULT_ENDPOINT } = this.#options;
		return fetch(endpoint, { method: 'POST', headers, body, signal, cache: 'no-store' });
	};

	#inOrder<T>(work: () => Promise<T>): Promise<T> {
		const done = this.#order.then(work);
		this.#order = done.catch(() => {});
		return done;
	}

	/** Writes rows here and into the outbox. */
	async #write(
		table: CopiedTable,
		action: SyncAction,
		prepare: () => Promise<RowWrite[]>
	): Promise<RowWrite[]> {
		await this.#opened();
		const { name, version } = table.definition;
		try {
			const written = await this.#copy.add(table, prepare, (rows) =>
				parts(rows, name).map((rows) => ({
					id: newId(),
					table: name,
					action,
					rows,
					lanes: rows.map(({ key }) => laneOf(name, key)),
					version,
					stamp: this.#clock.tick(),
					createdAt: new Date().toISOString()
				}))
			);
			this.#setEntries([...this.#entries, ...written]);
			return written.flatMap(({ rows }) => rows);
		} catch (error) {
			if (error instanceof RealtimeError && error.code.startsWith('SYNC_')) this.#report(error);
			throw error;
		}
	}

	#setEntries(entries: readonly OutboxEntry[]): void {
		this.#entries = entries;
		this.#pusher?.update(entries);
		this.#changes.emit();
	}

	/** Takes the answer to a write over. */
	async #settle(entry: OutboxEntry, answer: WriteAnswer | WriteRefusal): Promise<void> {
		const table = this.#tables.get(entry.table)!;
		const { name, version } = table.definition;
		const rejected: Told[] = [];
		const results = entry.rows.map((write, index): ServerRow | undefined => {
			const result = 'results' in answer ? answer.results[index] : { refused: answer };
			if (!result) return undefined;
			if ('refused' in result) {
				const { status, message } = result.refused;
				const { issues = [], isOutdated = false } = result.refused as Partial<WriteRefusal> & {
					issues?: SyncRejection['issues'];
				};
				const { action } = entry;
				rejected.push({ table: name, action, write, status, message, issues, isOutdated });
				return undefined;
			}
			const { stamp, row } = result;
			// Rows of another version are fetched.
			const isForeign = (answer as WriteAnswer).version !== version;
			const isNew = this.#versions.take(name, laneOf(name, write.key), stamp, row !== null);
			return isNew && !isForeign ? { key: write.key, row } : undefined;
		});
		await this.#copy.settle(table, entry, results);
		table.hasNews = true;
		this.#setEntries(this.#entries.filter(({ id }) => id !== entry.id));
		for (const one of rejected) {
			this.#others?.postMessage({ rejected: one });
			this.#tellRejected(one);
		}
	}

	#tellRejected({ table, action, write, status, message, issues, isOutdated }: Told): void {
		this.#options.onRejected?.({
			table,
			action,
			key: write.key,
			row: write.row ?? null,
			error: new RealtimeError(isOutdated ? 'SYNC_OUTDATED' : 'SYNC_REFUSED', message),
			status,
			issues
		});
	}

	/** Takes a message of a channel over. */
	#receive(channel: string, { version, changes }: ChangeMessage): void {
		const table = this.#tableOf(channel);
		if (!table) return;
		const { name } = table.definition;
		table.hasNews = true;
		// Something changed, or rows of another version: the fetch says what.
		if (changes.length === 0 || version !== table.definition.version) {
			table.puller.tell('gap');
			return;
		}
		void this.#inOrder(async () => {
			const rows: ServerRow[] = [];
			for (const change of changes) {
				const key = keyOf(table, change);
				const lane = laneOf(name, key);
				if (!this.#versions.take(name, lane, change.stamp, !('gone' in change))) continue;
				if ('row' in change) rows.push({ key, row: change.row });
				else {
					const known = await this.#copy.serverRow(table, key);
					if ('gone' in change) {
						rows.push({ key, row: null });
						if (known) this.#removed.set(lane, known);
					} else {
						// The word that it is gone, for others, may have come first.
						const row = known ?? this.#removed.get(lane);
						if (row) rows.push({ key, row: { ...row, ...change.fields } });
						if (!known) table.puller.tell('gap');
					}
				}
			}
			await this.#copy.take(table, rows);
		}).catch((error: unknown) => this.#lost(table, error));
	}

	/** A message could not be written: what it said is fetched. */
	#lost({ puller }: Followed, error: unknown): void {
		if (error instanceof RealtimeError && error.code !== 'CLOSED') this.#report(error);
		puller.tell('gap');
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
		if (isReached) this.#pusher?.retry();
		this.#changes.emit();
	}

	async #readMeta(): Promise<void> {
		this.#setMeta(await this.#database.meta.toArray());
	}

	#setMeta(metas: readonly TableMeta[]): void {
		for (const table of this.#tables.values()) {
			table.meta = metas.find(({ key }) => key === `table ${table.definition.name}`);
			// What was known before is listened to at once.
			if (table.meta?.scopes && table.scopes.length === 0) table.scopes = table.meta.scopes;
		}
		this.#changes.emit();
	}

	#report(error: RealtimeError): void {
		this.#error = error;
		this.#options.onError?.(error);
		this.#changes.emit();
	}
}

/** The newest of what was set, by key. */
class Recent<T> {
	readonly #size: number;
	readonly #values = new Map<string, T>();

	constructor(size: number) {
		this.#size = size;
	}

	get(key: string): T | undefined {
		return this.#values.get(key);
	}

	set(key: string, value: T): void {
		this.#values.delete(key);
		this.#values.set(key, value);
		if (this.#values.size > this.#size) this.#values.delete(this.#values.keys().next().value!);
	}
}

/** The key of a row that changed. */
function keyOf({ definition }: CopiedTable, change: RowChange): SyncKey {
	if ('row' in change) return change.row[definition.key] as SyncKey;
	return 'gone' in change ? change.gone : change.key;
}

/** A refusal, as it is told to other tabs. */
interface Told {
	table: string;
	action: SyncAction;
	write: RowWrite;
	status: number;
	message: string;
	issues: SyncRejection['issues'];
	isOutdated: boolean;
}

/** Rows in as few parts as events can carry. @throws {RealtimeError} `EVENT_INVALID` for a row that is too large. */
function parts(rows: readonly RowWrite[], table: string): RowWrite[][] {
	const found: RowWrite[][] = [];
	let bytes = Infinity;
	for (const row of rows) {
		const size = new TextEncoder().encode(JSON.stringify(row)).length;
		if (size > MAX_EVENT_BYTES) {
			const text = `A row of table "${table}" has ${size} bytes as JSON, and may have ${MAX_EVENT_BYTES}. Store large values elsewhere.`;
			throw new RealtimeError('EVENT_INVALID', text);
		}
		if (bytes + size > MAX_EVENT_BYTES || found.at(-1)!.length >= 500) {
			found.push([]);
			bytes = 0;
		}
		found.at(-1)!.push(row);
		bytes += size;
	}
	return found;
}

const CONTROLS = ['status', 'pending', 'retry', 'clear', 'close'];

function check({ name, tables }: SyncClientOptions): void {
	if (typeof name !== 'string' || name === '') {
		invalid(
			'A SyncClient needs a `name`, made of the id of the user: people of one browser must not share rows.'
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
 * Keeps local copies of tables, and sends what is written to them. Reads are Dexie's own, writes are local
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
