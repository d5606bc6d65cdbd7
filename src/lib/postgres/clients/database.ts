/** One row, as its columns in order. Every column that this package selects is text. */
export type Row = readonly (string | null)[];

/** The listener of a session. Neither method may throw. */
export interface SessionEvents {
	notify(channel: string, payload: string): void;
	/** The session has ended. */
	lost(error: unknown): void;
}

/** A separate connection that listens to notifications. */
export interface Session {
	/** Whether the database runs in this process, so that the connection cannot break. */
	readonly isLocal: boolean;
	listen(channel: string): Promise<void>;
	/** Sends a notification through the session itself. */
	notify(channel: string, payload: string): Promise<void>;
	/** Ends the session at once, even if it is busy. */
	end(): void;
}

/** A Postgres database, behind any client library. */
export interface Database {
	/**
	 * Runs one statement. A connection that does not answer in time is closed, so that it does not block a place
	 * in the pool.
	 */
	query(text: string, values: readonly string[], timeoutMs: number): Promise<Row[]>;
	/** Runs several statements in one transaction. */
	script(text: string): Promise<void>;
	/** Opens a session to listen. */
	connect(events: SessionEvents): Promise<Session>;
	/** Ends the connections that were opened here; the app's client stays open. */
	close(): void;
}

/** @returns rows as columns in order, whatever format the client uses. */
export function asRows(rows: readonly unknown[]): Row[] {
	return rows.map((row) => (Array.isArray(row) ? row : Object.values(row as object)) as Row);
}

/** Statement that sends a notification; `$1` is the channel, `$2` the payload. */
export const NOTIFY = 'select pg_notify($1::text, $2::text)::text';

/** @returns the statement that listens; the name must be quoted, or it would be lower-cased. */
export const listenTo = (channel: string): string => `listen "${channel}"`;
