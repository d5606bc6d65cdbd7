/** The parts of Cloudflare's runtime that this package uses, by their shape. */

/** A row of a table. */
export type SqlRow = Record<string, string | number | null | ArrayBuffer>;

/** `ctx.storage.sql` */
export interface SqlStorageLike {
	exec(query: string, ...bindings: (string | number | null)[]): Iterable<SqlRow>;
}

/** `ctx.storage` of an object with SQLite storage. */
export interface StorageLike {
	readonly sql: SqlStorageLike;
	getAlarm(): Promise<number | null>;
	setAlarm(atMs: number): Promise<void>;
	deleteAlarm(): Promise<void>;
}

/** `ctx` of a Durable Object. */
export interface ObjectStateLike {
	readonly storage: StorageLike;
}

/** The stub of a Durable Object. */
export interface ObjectStubLike {
	fetch(
		url: string,
		init: { method: string; body: string; signal?: AbortSignal }
	): Promise<Response>;
}

/** A binding of Durable Objects: `env.REALTIME`. */
export interface ObjectNamespaceLike {
	idFromName(name: string): unknown;
	// A method, so that Cloudflare's own types, which want their own id, are accepted.
	get(id: never): unknown;
}
