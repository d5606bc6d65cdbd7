import { inTime, SCRIPT_TIMEOUT_MS } from '../time.js';
import { asRows, listenTo, NOTIFY, type Database, type Row, type Session } from './database.js';
import type { SessionEvents } from './database.js';

/** A `Pool` of `pg`. */
export interface PgPool {
	connect(): PromiseLike<object>;
	on(event: 'error', listener: (error: Error) => void): unknown;
	readonly totalCount: number;
}

/** The part of a `Client` of `pg` that we use. */
interface PgClient {
	connect(): Promise<void>;
	query(query: {
		text: string;
		values?: readonly string[];
		rowMode?: 'array';
	}): Promise<{ rows: unknown[] }>;
	on(event: string, listener: (value: never) => void): unknown;
	removeListener(event: string, listener: () => void): unknown;
	release(destroy?: boolean): void;
	unref?(): void;
	end(): unknown;
	connection?: { stream?: { destroy(): void } };
}

/** Members of a pool that its types lack. */
interface PgPoolInside extends PgPool {
	Client: new (options: object) => PgClient;
	options: object;
}

const ignore = (): void => {};

const guarded = new WeakSet<PgPool>();

/** A database behind a pool of `pg`. */
export class PgDatabase implements Database {
	readonly #pool: PgPool;

	constructor(pool: PgPool) {
		this.#pool = pool;
		if (guarded.has(pool)) return;
		guarded.add(pool);
		// Without a listener, an idle connection that breaks would end the app's process.
		pool.on('error', ignore);
	}

	query(text: string, values: readonly string[], timeoutMs: number): Promise<Row[]> {
		return this.#run({ text, values }, timeoutMs);
	}

	async script(text: string): Promise<void> {
		await this.#run({ text }, SCRIPT_TIMEOUT_MS);
	}

	async connect(events: SessionEvents): Promise<Session> {
		const { Client, options } = this.#pool as PgPoolInside;
		// A pool hides its password from enumeration.
		const config = Object.defineProperties({}, Object.getOwnPropertyDescriptors(options));
		const client = new Client(Object.assign(config, { keepAlive: true }));
		const end = (): void => {
			const stream = client.connection?.stream;
			// Ending the session properly would wait for a server that may not answer.
			if (stream) stream.destroy();
			else client.end();
		};
		client.on('error', (error: Error) => events.lost(error));
		client.on('end', () => events.lost(new Error('The connection ended.')));
		client.on('notification', (message: { channel: string; payload?: string }) =>
			events.notify(message.channel, message.payload ?? '')
		);
		try {
			await inTime(client.connect());
		} catch (error) {
			end();
			throw error;
		}
		client.unref?.();
		return {
			isLocal: false,
			listen: async (channel) => void (await client.query({ text: listenTo(channel) })),
			notify: async (channel, payload) =>
				void (await client.query({ text: NOTIFY, values: [channel, payload] })),
			end
		};
	}

	close(): void {}

	async #run(
		query: { text: string; values?: readonly string[] },
		timeoutMs: number
	): Promise<Row[]> {
		const client = await this.#take(timeoutMs);
		client.on('error', ignore);
		let isDone = false;
		try {
			const { rows } = await inTime(client.query({ ...query, rowMode: 'array' }), timeoutMs);
			isDone = true;
			return asRows(rows ?? []);
		} catch (error) {
			// An answer with an error is also an answer.
			isDone = (error as { severity?: unknown }).severity === 'ERROR';
			throw error;
		} finally {
			if (isDone) client.removeListener('error', ignore);
			client.release(!isDone);
		}
	}

	/** A connection of the pool; one that comes too late is returned at once. */
	async #take(timeoutMs: number): Promise<PgClient> {
		const taken = Promise.resolve(this.#pool.connect()) as Promise<PgClient>;
		let isLate = false;
		taken.then((client) => isLate && client.release(), ignore);
		try {
			return await inTime(taken, timeoutMs);
		} catch (error) {
			isLate = true;
			throw error;
		}
	}
}
