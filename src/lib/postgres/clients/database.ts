/** One row, as its columns in order. Every column that this package asks for is text. */
export type Row = readonly (string | null)[];

/** What a session hands on. Neither method may throw. */
export interface SessionEvents {
	notify(channel: string, payload: string): void;
	/** The session is over. */
	lost(error: unknown): void;
}

/** A connection of its own that listens to notifications. */
export interface Session {
	/** Whether the database runs in this process, so that the line to it cannot break. */
	readonly isLocal: boolean;
	listen(channel: string): Promise<void>;
	/** Sends a notification through the session itself. */
	notify(channel: string, payload: string): Promise<void>;
	/** Ends the session at once, whatever it is doing. */
	end(): void;
}

/** A Postgres database, behind whichever client library the app has. */
export interface Database {
	/**
	 * Runs one statement. A connection that does not answer in time is given up, so that it does not
	 * block one of the pool's places.
	 */
	query(text: string, values: readonly string[], timeoutMs: number): Promise<Row[]>;
	/** Runs several statements in one transaction. */
	script(text: string): Promise<void>;
	/** Opens a session to listen. */
	connect(events: SessionEvents): Promise<Session>;
	/** Ends what was opened here; the app's own client stays open. */
	close(): void;
}

/** @returns rows of whatever shape the client gives them, as columns in order. */
export function asRows(rows: readonly unknown[]): Row[] {
	return rows.map((row) => (Array.isArray(row) ? row : Object.values(row as object)) as Row);
}

/** Statement that sends a notification; `$1` is the channel, `$2` the payload. */
export const NOTIFY = 'select pg_notify($1::text, $2::text)::text';

/** @returns the statement that listens; the name must be quoted, or it would be lower-cased. */
export const listenTo = (channel: string): string => `listen "${channel}"`;
