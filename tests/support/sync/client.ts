import { setMaxListeners } from 'node:events';
import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { expect } from 'vitest';
import type { Realtime } from '../../../src/lib/server/index.js';
import { SyncClient } from '../../../src/lib/sync/index.js';
import type { TableSync } from '../../../src/lib/sync/server/index.js';
import { syncTables } from '../../../src/lib/sync/server/index.js';
import { createRealtime } from '../../../src/lib/server/index.js';
import { serve, type TestServer } from '../server.js';
import { clientAt } from '../upstream.js';
import { personOf, todos } from './todos.js';

/** Expects something that comes to pass soon; on a busy machine a little later. */
export const soon = <T>(read: () => T) => expect.poll(read, { timeout: 15_000 });

/** A storage of its own, as every browser has one. */
export function storage(): { indexedDB: IDBFactory; IDBKeyRange: typeof IDBKeyRange } {
	return { indexedDB: new IDBFactory(), IDBKeyRange };
}

/** An endpoint with synced tables on a real server. */
export interface SyncServer extends TestServer {
	realtime: Realtime;
	/** What reached `onFailure`. */
	failures: unknown[];
	end(): Promise<void>;
}

export async function serveTables(
	tables: readonly TableSync[],
	options: Parameters<typeof serve>[1] = {}
): Promise<SyncServer> {
	const failures: unknown[] = [];
	const realtime = createRealtime({
		inngest: clientAt('http://127.0.0.1:9'),
		identify: ({ event }) => personOf(event.request),
		onFailure: (failure) => void failures.push(failure),
		...syncTables(tables)
	});
	const server = await serve(realtime, options);
	return {
		...server,
		realtime,
		failures,
		async end() {
			realtime.close();
			await server.close();
		}
	};
}

/** A client of the todos at `endpoint`, with a copy and a storage of its own. The test closes it. */
export function todosClient(endpoint: string, way: Way, more: object = {}) {
	return new SyncClient({
		name: crypto.randomUUID(),
		endpoint,
		fetch: way.fetch,
		memory: storage(),
		tables: { todos: { table: todos, indexes: ['owner'] } },
		...more
	});
}

/** Whether a client has fetched everything, as far as it knows. */
export const isCurrent = ({
	status: { online, tables }
}: Pick<ReturnType<typeof todosClient>, 'status'>): boolean =>
	online && !tables.todos.isFetching && tables.todos.lastSyncAt !== null;

/** One that any number of requests listen to. */
function endless(): AbortController {
	const controller = new AbortController();
	setMaxListeners(0, controller.signal);
	return controller;
}

/** The way of one person to a server, which can be cut. */
export class Way {
	isUp = true;
	readonly #headers: Record<string, string>;
	#cutter = endless();

	constructor(user: string, teams: readonly string[] = []) {
		this.#headers = { 'x-user': user, 'x-teams': teams.join(',') };
	}

	set teams(teams: readonly string[]) {
		this.#headers['x-teams'] = teams.join(',');
	}

	readonly fetch: typeof globalThis.fetch = async (input, init = {}) => {
		if (!this.isUp) throw new TypeError('The line is down');
		const request = new AbortController();
		for (const signal of [this.#cutter.signal, init.signal]) {
			if (signal?.aborted) request.abort();
			signal?.addEventListener('abort', () => request.abort(), { signal: request.signal });
		}
		const headers = { ...(init.headers as Record<string, string>), ...this.#headers };
		return globalThis.fetch(input, { ...init, headers, signal: request.signal });
	};

	cut(): void {
		this.#cutter.abort();
		this.#cutter = endless();
	}

	down(): void {
		this.isUp = false;
		this.cut();
	}

	up(): void {
		this.isUp = true;
	}
}
