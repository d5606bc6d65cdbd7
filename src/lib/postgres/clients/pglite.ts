import { inTime, SCRIPT_TIMEOUT_MS } from '../time.js';
import {
	asRows,
	NOTIFY,
	type Database,
	type Row,
	type Session,
	type SessionEvents
} from './database.js';

/** A database of `@electric-sql/pglite`. */
export interface PGliteClient {
	query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
	exec(text: string): Promise<unknown>;
	listen(channel: string, callback: (payload: string) => void): Promise<() => Promise<void>>;
	readonly waitReady: Promise<void>;
}

/** A database in this process. */
export class PGliteDatabase implements Database {
	readonly #client: PGliteClient;

	constructor(client: PGliteClient) {
		this.#client = client;
	}

	async query(text: string, values: readonly string[], timeoutMs: number): Promise<Row[]> {
		const { rows } = await inTime(this.#client.query(text, [...values]), timeoutMs);
		return asRows(rows);
	}

	async script(text: string): Promise<void> {
		await inTime(this.#client.exec(text), SCRIPT_TIMEOUT_MS);
	}

	async connect(events: SessionEvents): Promise<Session> {
		const client = this.#client;
		await client.waitReady;
		const stops: (() => Promise<void>)[] = [];
		return {
			isLocal: true,
			async listen(channel) {
				stops.push(
					// It takes an identifier, which is lower-cased without quotes.
					await client.listen(`"${channel}"`, (payload) => events.notify(channel, payload))
				);
			},
			notify: async (channel, payload) => void (await client.query(NOTIFY, [channel, payload])),
			end: () => stops.forEach((stop) => void stop().catch(() => {}))
		};
	}

	close(): void {}
}
