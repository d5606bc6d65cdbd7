import { Dexie, type Table, type Transaction } from 'dexie';
import { RealtimeError } from '../../protocol/errors.js';
import type { SyncAction, SyncKey, SyncValues, TableDefinition } from '../shared/table.js';
import type { RowWrite, SyncCursor } from '../shared/wire.js';
import { isLost, namedError } from './errors.js';

/** A write that waits for the server's answer. */
export interface OutboxEntry {
	/** Position in the outbox. */
	seq: number;
	/** Id of its event. */
	id: string;
	/** Name of the table. */
	table: string;
	action: SyncAction;
	rows: RowWrite[];
	/** What is seen of them, where the table has another version now. */
	shown?: RowWrite[];
	/** The rows that it writes, as lanes. */
	lanes: string[];
	/** Version of the table that it was written with. */
	version: number;
	stamp: string;
	/** ISO 8601. */
	createdAt: string;
}

/** What the server has of a row that is written here. */
export interface BaseRow {
	lane: string;
	table: string;
	key: SyncKey;
	/** `null` where it has none. */
	row: SyncValues | null;
	/**
	 * The last write, by its `seq`, that was waiting when a page of a fetch brought the row. The page may
	 * contain that write, and later ones of others: its answer may be older than the row.
	 */
	upTo?: number | undefined;
}

/** What is known of a table's copy. */
export interface TableMeta {
	/** `table` and its name. */
	key: string;
	version: number;
	cursor: SyncCursor;
	/** Ids whose rows the reader receives; absent before the first answer. */
	scopes?: string[];
	/** ISO 8601. */
	lastSyncAt?: string;
}

/** An implementation of IndexedDB. */
export interface StorageApi {
	indexedDB: IDBFactory;
	IDBKeyRange: typeof IDBKeyRange;
}

/**
 * Brings the copy of a table to its present version; called within a transaction.
 *
 * @returns whether it was of another version.
 */
export type Migrate = (
	database: Database,
	definition: TableDefinition,
	known: TableMeta
) => Promise<boolean>;

/** What a database is made of. */
export interface DatabaseOptions {
	name: string;
	/** Indexes of each table, Dexie's text, by its name. */
	stores: Record<string, string>;
	definitions: readonly TableDefinition[];
	/** Loads what brings tables of other versions to the present one. */
	migrate: () => Promise<{ migrate: Migrate }>;
	/** Takes the place of a storage that cannot be used. */
	memory: StorageApi | undefined;
	/** Told what is wrong with the storage. */
	onError: (error: RealtimeError) => void;
}

const OWN = {
	$outbox: '++seq, *lanes',
	$base: 'lane, table',
	// Not `$meta`: Dexie has a table of its own that is called that, and writes to it when indexes change.
	$copies: 'key'
};

/** Begins the life of a copy that was brought to another version. */
const VERSION = 'version';

/** Called when a database opens another storage: what was read of the old one is to be read again. */
export const reopened = /* @__PURE__ */ new Set<() => void>();

function tellReopened(): void {
	for (const tell of [...reopened]) tell();
}

/** Where it is noted what is known of a table. */
export function metaKey({ name }: TableDefinition): string {
	return `table ${name}`;
}

/** Which rows of a table a write waits for: one lane per row. */
export function laneOf(table: string, key: SyncKey): string {
	return `${table} ${JSON.stringify(key)}`;
}

/**
 * The local copy in IndexedDB: the tables, the outbox, and what the server has of rows that are written here.
 * Opens a lost connection once more, and goes on in memory where it is given one. Ended by `close`.
 */
export class Database {
	readonly #options: DatabaseOptions;
	/** Transactions of this class; others may not write. */
	readonly #own = new WeakSet<Transaction>();
	#dexie: Dexie;
	#isInMemory = false;
	#isClosed = false;
	/** Changes when the copy is cleared or migrated, so that what began before does not write afterwards. */
	#life: string | undefined;

	constructor(options: DatabaseOptions) {
		this.#options = options;
		this.#isInMemory = !globalThis.indexedDB && options.memory !== undefined;
		this.#dexie = this.#create();
	}

	get outbox(): Table<OutboxEntry, number> {
		return this.#dexie.table('$outbox');
	}

	get base(): Table<BaseRow, string> {
		return this.#dexie.table('$base');
	}

	get meta(): Table<TableMeta & { value?: string }, string> {
		return this.#dexie.table('$copies');
	}

	table(name: string): Table<SyncValues, SyncKey> {
		return this.#dexie.table(name);
	}

	/** @throws {RealtimeError} `SYNC_STORAGE` where there is no storage to be used. */
	async open(): Promise<void> {
		try {
			await this.#dexie.open();
		} catch (error) {
			if (!this.#fallBack()) throw namedError(error, this.#options.name);
			this.#tell(error);
			await this.#dexie.open();
		}
	}

	/**
	 * Writes in one transaction, together with the outbox.
	 *
	 * @param tables Names of the tables that are written.
	 * @throws {RealtimeError} `SYNC_QUOTA`, `SYNC_STORAGE`; `CLOSED` after the copy was cleared, `SYNC_OUTDATED`
	 *   after it was brought to another version.
	 */
	async write<T>(tables: readonly string[], work: () => Promise<T>): Promise<T> {
		return this.#transact(tables, async () => {
			const life = this.#life;
			const known = life === undefined ? undefined : this.meta.get('life');
			const [done, now] = await Promise.all([work(), known]);
			const end = known && this.endOf(now?.value);
			if (end) throw end;
			return done;
		});
	}

	/** Removes everything; whoever has this copy open writes no more. */
	async clear(): Promise<void> {
		// What began before waits for this, and finds that it is over.
		this.#life = 'over';
		await this.#transact(Object.keys(this.#options.stores), async () => {
			for (const { name } of this.#dexie.tables) await this.#dexie.table(name).clear();
			await this.#begin('cleared');
		});
	}

	/** Why the copy may not be written any more, by what it says of itself now. */
	endOf(life: string | undefined): RealtimeError | undefined {
		if (this.#life === undefined || this.#life === life) return undefined;
		const { name } = this.#options;
		return life?.startsWith(VERSION)
			? new RealtimeError(
					'SYNC_OUTDATED',
					`Another page has brought the local copy "${name}" to another version of its tables. Reload this one.`
				)
			: new RealtimeError(
					'CLOSED',
					`The local copy "${name}" was cleared. Create a new SyncClient.`
				);
	}

	close(): void {
		this.#isClosed = true;
		this.#dexie.close();
	}

	/**
	 * Brings tables to their present version before anybody reads them.
	 *
	 * @param dexie What works while the database is being opened.
	 */
	async #prepare(dexie: Dexie): Promise<void> {
		const { definitions } = this.#options;
		const [life, ...known] = await dexie.transaction('r', '$copies', () =>
			this.meta.bulkGet(['life', ...definitions.map(metaKey)])
		);
		const isOther = definitions.some(
			({ version }, index) => (known[index]?.version ?? version) !== version
		);
		const { migrate } = isOther ? await this.#options.migrate() : {};
		if (life && !migrate && known.every(Boolean)) {
			this.#life = life.value;
			return;
		}
		const names = dexie.tables.map(({ name }) => name);
		this.#life = await dexie.transaction('rw', names, async (transaction) => {
			this.#own.add(transaction);
			const { meta } = this;
			let hasMigrated = false;
			for (const one of definitions) {
				const key = metaKey(one);
				const known = await meta.get(key);
				if (!known) await meta.put({ key, version: one.version, cursor: null });
				else if (migrate) hasMigrated = (await migrate(this, one, known)) || hasMigrated;
			}
			if (hasMigrated) return this.#begin(VERSION);
			return (await meta.get('life'))?.value ?? this.#begin('new');
		});
	}

	/** Begins another life of the copy; called within a transaction. */
	async #begin(why: string): Promise<string> {
		const value = `${why} ${Math.random()}`;
		await this.meta.put({ key: 'life', value } as never);
		return value;
	}

	#transact<T>(tables: readonly string[], work: () => Promise<T>): Promise<T> {
		return this.#guarded(() =>
			this.#dexie.transaction('rw', [...tables, ...Object.keys(OWN)], async (transaction) => {
				this.#own.add(transaction);
				return work();
			})
		);
	}

	async #guarded<T>(work: () => PromiseLike<T>): Promise<T> {
		const { name } = this.#options;
		try {
			return await work();
		} catch (error) {
			if (!isLost(error) || this.#isClosed) throw namedError(error, name);
		}
		try {
			// WebKit drops the connections of tabs in the background.
			this.#dexie.close({ disableAutoOpen: false });
			await this.#dexie.open();
			tellReopened();
			return await work();
		} catch (error) {
			if (!this.#fallBack()) throw namedError(error, name);
			this.#tell(error);
			return work();
		}
	}

	/** @returns whether there is memory to go on in. */
	#fallBack(): boolean {
		if (this.#isClosed || this.#isInMemory || !this.#options.memory) return false;
		this.#isInMemory = true;
		this.#dexie.close();
		this.#dexie = this.#create();
		tellReopened();
		return true;
	}

	#create(): Dexie {
		const { name, stores, memory } = this.#options;
		const { indexedDB, IDBKeyRange } = this.#isInMemory ? memory! : globalThis;
		// Live queries do nothing where Dexie has found no IndexedDB.
		Dexie.dependencies.indexedDB ??= indexedDB;
		const dexie = new Dexie(`sveltekit-inngest ${name}`, {
			indexedDB,
			IDBKeyRange,
			// Queries would see what is written before it is there.
			cache: 'disabled'
		});
		dexie.version(1).stores({ ...stores, ...OWN });
		dexie.on('ready', (opened) => this.#prepare(opened as Dexie));
		dexie.on('blocked', () => {
			const text = `The local copy "${name}" waits for another tab of this app, which has an older version of it open. Close or reload that tab.`;
			this.#options.onError(new RealtimeError('SYNC_BLOCKED', text));
		});
		dexie.use({
			stack: 'dbcore',
			name: 'sync',
			create: (core) => ({
				...core,
				table: (table) => {
					const down = core.table(table);
					const mutate: typeof down.mutate = (request) => {
						const { currentTransaction } = Dexie;
						if (currentTransaction && this.#own.has(currentTransaction))
							return down.mutate(request);
						const text = `Nothing was written to table "${table}": collections only read. Write with add, put, update, delete, their bulk forms, or those of \`local\`.`;
						return Promise.reject(new RealtimeError('UNSUPPORTED', text));
					};
					return { ...down, mutate };
				}
			})
		});
		return dexie;
	}

	#tell(error: unknown): void {
		const named = namedError(error, this.#options.name);
		if (named instanceof RealtimeError) this.#options.onError(named);
	}
}
