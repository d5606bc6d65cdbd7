import { IDBDatabase, IDBKeyRange, IDBObjectStore, type IDBFactory } from 'fake-indexeddb';
import { afterEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { defineSync, defineTable } from '../../src/lib/sync/server/index.js';
import { SyncClient } from '../../src/lib/sync/index.js';
import {
	serveTables,
	soon,
	storage,
	todosClient,
	Way,
	type SyncServer
} from '../support/sync/client.js';
import { Store, todo, todos, todosSync, type Todo } from '../support/sync/todos.js';

let server: SyncServer | undefined;
const open: { close(): void }[] = [];
afterEach(async () => {
	vi.useRealTimers();
	vi.unstubAllGlobals();
	for (const client of open.splice(0)) client.close();
	await server?.end();
	server = undefined;
});

function client(more: object = {}, way = new Way('alice')) {
	const sync = todosClient(server?.url ?? 'http://127.0.0.1:9/', way, more);
	open.push(sync);
	return sync;
}

test('reads are Dexie’s own; a collection that writes is refused, and says what to use', async () => {
	const sync = client();
	await sync.todos.bulkAdd([todo('a', { owner: 'x' }), todo('b', { owner: 'y' })]);
	expect(await sync.todos.where('owner').equals('x').primaryKeys()).toEqual(['a']);
	expect(await sync.todos.orderBy('owner').reverse().keys()).toEqual(['y', 'x']);
	expect(await sync.todos.filter(({ id }) => id === 'b').toArray()).toEqual([
		todo('b', { owner: 'y' })
	]);
	expect(await sync.todos.bulkGet(['b', 'none'])).toEqual([todo('b', { owner: 'y' }), undefined]);
	expect(sync.todos.name).toBe('todos');
	await expect(sync.todos.where('owner').equals('x').delete()).rejects.toMatchObject({
		code: 'UNSUPPORTED'
	});
	await expect(sync.todos.toCollection().modify({ done: true })).rejects.toMatchObject({
		code: 'UNSUPPORTED'
	});
	await expect((sync.todos as unknown as { clear(): Promise<void> }).clear()).rejects.toMatchObject(
		{
			code: 'UNSUPPORTED'
		}
	);
	expect(await sync.todos.count()).toBe(2);
});

test('local writes stay here', async () => {
	const sync = client();
	await sync.todos.local.bulkPut([todo('a'), todo('b')]);
	await sync.todos.local.update('a', { done: true });
	await sync.todos.local.put('b', { title: 'Milk' });
	expect(await sync.todos.toArray()).toEqual([
		todo('a', { done: true }),
		todo('b', { title: 'Milk' })
	]);
	await sync.todos.local.delete('a');
	expect(await sync.todos.count()).toBe(1);
	await sync.todos.local.clear();
	expect(await sync.todos.count()).toBe(0);
	expect(sync.pending).toEqual([]);
});

test('what does not match the schema is written nowhere', async () => {
	const sync = client();
	await expect(sync.todos.add({ id: 'a' } as Todo)).rejects.toMatchObject({
		code: 'EVENT_INVALID',
		message: expect.stringContaining('(at title)')
	});
	await expect(sync.todos.add({ title: 'x' } as Todo)).rejects.toMatchObject({
		code: 'EVENT_INVALID'
	});
	await sync.todos.add(todo('a'));
	await expect(sync.todos.update('a', { title: 7 as never })).rejects.toMatchObject({
		code: 'EVENT_INVALID'
	});
	await expect(sync.todos.add(todo('a'))).rejects.toMatchObject({ name: 'ConstraintError' });
	await expect(sync.todos.bulkAdd([todo('b'), todo('b')])).rejects.toMatchObject({
		name: 'ConstraintError'
	});
	expect(await sync.todos.update('none', { done: true })).toBe(0);
	expect(await sync.todos.toArray()).toEqual([todo('a')]);
	expect(sync.pending).toHaveLength(1);
});

test('what JSON has no word for, and proxies, are written as JSON', async () => {
	const table = defineTable('things', {
		schema: z.object({ id: z.number(), at: z.coerce.string(), list: z.array(z.string()) }),
		key: 'id'
	});
	const sync = client({ tables: { things: { table } } }) as unknown as SyncClient<{
		things: typeof table;
	}>;
	const list = new Proxy(['a', 'b'], {});
	await sync.things.put(new Proxy({ id: 1, at: new Date(0), list }, {}));
	expect(await sync.things.toArray()).toEqual([
		{ id: 1, at: '1970-01-01T00:00:00.000Z', list: ['a', 'b'] }
	]);
});

test('a local write and its answer do not flicker', async () => {
	const store = new Store<Todo>();
	store.set(todo('a'));
	server = await serveTables([todosSync(store)]);
	const sync = client();
	await soon(() => sync.status.online && sync.todos.count()).toBe(1);
	const { liveQuery } = await import('dexie');
	const seen: string[] = [];
	const watch = liveQuery(() => sync.todos.toArray()).subscribe((rows) => {
		seen.push(rows.map(({ title }) => title).join());
	});
	await vi.waitFor(() => expect(seen).toEqual(['Tea']), 20_000);
	for (const title of ['T1', 'T2', 'T3']) await sync.todos.update('a', { title });
	await sync.todos.add(todo('b', { title: 'B' }));
	await soon(() => sync.pending).toEqual([]);
	await soon(() => store.rows.size).toBe(2);
	watch.unsubscribe();
	// Each is seen once, in order, and no older one afterwards.
	expect([...new Set(seen)]).toEqual(seen);
	expect(seen.at(-1)).toBe('T3,B');
});

test('where both sides have changed, merge makes one row, which is written', async () => {
	const store = new Store<Todo>();
	store.set(todo('a', { title: 'list' }));
	server = await serveTables([todosSync(store)]);
	const way = new Way('alice');
	const sync = client(
		{
			tables: {
				todos: {
					table: todos,
					merge: (remote: Todo, local: Todo) => ({
						...local,
						title: [...new Set([...remote.title.split('+'), ...local.title.split('+')])]
							.sort()
							.join('+')
					})
				}
			}
		},
		way
	);
	await soon(() => sync.todos.count()).toBe(1);
	way.down();
	await sync.todos.update('a', { title: 'list+mine' });
	store.set(todo('a', { title: 'list+yours' }));
	way.up();
	sync.retry();
	await soon(() => store.rows.get('a')?.title).toBe('list+mine+yours');
	await soon(() => sync.pending).toEqual([]);
	expect((await sync.todos.get('a'))?.title).toBe('list+mine+yours');
});

test('a new version of a table migrates the copy where it can, and fetches it again where not', async () => {
	const store = new Store<{ id: string; owner: string; text?: string; title?: string }>();
	store.set({ id: 'a', owner: 'all', text: 'Tea' });
	const tableOf = (version: number, upgrade = {}) =>
		defineTable('notes', {
			schema: z.object({
				id: z.string(),
				owner: z.string(),
				[version === 1 ? 'text' : 'title']: z.string()
			}),
			key: 'id',
			version,
			upgrade
		});
	const syncOf = (table: ReturnType<typeof tableOf>) =>
		defineSync({
			table,
			authorize: () => true,
			scope: () => 'all',
			fetch: (_, { cursor }) => (
				store.calls.push([cursor]),
				store.fetch(cursor, 10, () => true) as never
			),
			create: (_, row) => store.set(row as never) as never
		});
	const upgrade = {
		1: ({ text, ...row }: { text: string; id: string; owner: string }) => ({ ...row, title: text })
	};
	server = await serveTables([syncOf(tableOf(1))]);
	const { url } = server;
	const memory = storage();
	const openNotes = (table: ReturnType<typeof tableOf>, way = new Way('alice')) =>
		client(
			{ name: 'notes', memory, endpoint: url, tables: { notes: { table } } },
			way
		) as unknown as {
			notes: { toArray(): Promise<unknown[]>; add(row: object): Promise<string> };
			pending: unknown[];
			status: { tables: { notes: { lastSyncAt: Date | null; error: { code: string } | null } } };
			close(): void;
		};
	const first = openNotes(tableOf(1));
	await soon(() => first.status.tables.notes.lastSyncAt).not.toBeNull();
	const way = new Way('alice');
	way.down();
	first.close();
	// Written offline, by the old page.
	const offline = openNotes(tableOf(1), way);
	await offline.notes.add({ id: 'b', owner: 'all', text: 'Milk' });
	offline.close();
	const port = Number(new URL(url).port);
	await server.end();
	server = await serveTables([syncOf(tableOf(2, upgrade))], { port });
	store.calls.length = 0;
	store.set({ id: 'a', owner: 'all', title: 'Tea' });
	const migrated = openNotes(tableOf(2, upgrade));
	await soon(() => migrated.pending).toEqual([]);
	await soon(() => migrated.notes.toArray()).toEqual([
		{ id: 'a', owner: 'all', title: 'Tea' },
		{ id: 'b', owner: 'all', title: 'Milk' }
	]);
	await soon(() => store.calls[0]).toEqual(['0:1']);
	await soon(() => store.rows.get('b')).toEqual({ id: 'b', owner: 'all', title: 'Milk' });
	migrated.close();
	// A page of the old version, which the server does not know any more: it keeps what it has.
	const old = openNotes(tableOf(1));
	await soon(() => old.status.tables.notes.error?.code).toBe('SYNC_OUTDATED');
	old.close();
	store.calls.length = 0;
	const again = openNotes(tableOf(2));
	await soon(() => again.notes.toArray()).toHaveLength(2);
	await soon(() => store.calls[0]).toEqual([null]);
});

test('clear() removes everything, and nothing comes back', async () => {
	const store = new Store<Todo>();
	store.set(todo('a'));
	server = await serveTables([todosSync(store)]);
	const memory = storage();
	const way = new Way('alice');
	const sync = client({ memory, name: 'cleared' }, way);
	await soon(() => sync.todos.count()).toBe(1);
	way.down();
	await sync.todos.add(todo('b'));
	await sync.clear();
	expect(await sync.todos.count()).toBe(0);
	expect(sync.pending).toEqual([]);
	await expect(sync.todos.add(todo('c'))).rejects.toMatchObject({ code: 'CLOSED' });
	await expect(sync.todos.local.put(todo('c'))).rejects.toMatchObject({ code: 'CLOSED' });
	way.up();
	store.set(todo('d'));
	sync.retry();
	const next = client({ memory, name: 'cleared' });
	await soon(() => next.todos.toArray()).toEqual([todo('a'), todo('d')]);
	expect(store.rows.has('b')).toBe(false);
});

test('two people of one browser never share rows', async () => {
	const store = new Store<Todo>();
	store.set(todo('a', { owner: 'alice' }));
	server = await serveTables([todosSync(store)]);
	const memory = storage();
	const alice = client({ memory, name: 'alice' });
	await soon(() => alice.todos.count()).toBe(1);
	alice.close();
	const bob = client({ memory, name: 'bob' }, new Way('bob'));
	await soon(() => bob.status.tables.todos.lastSyncAt).not.toBeNull();
	expect(await bob.todos.count()).toBe(0);
});

test('who has to sign in again loses no write, and is not told that it was refused', async () => {
	const store = new Store<Todo>();
	let isSignedIn = true;
	server = await serveTables([todosSync(store)], {
		around: async (_, next) => (isSignedIn ? next() : new Response('Sign in', { status: 401 }))
	});
	const onRejected = vi.fn();
	const sync = client({ onRejected });
	await soon(() => sync.status.online).toBe(true);
	isSignedIn = false;
	await sync.todos.add(todo('a'));
	await soon(() => sync.status.online).toBe(false);
	isSignedIn = true;
	sync.retry();
	await soon(() => store.rows.has('a')).toBe(true);
	await soon(() => sync.status.online).toBe(true);
	expect(onRejected).not.toHaveBeenCalled();
});

test('a clock that is set back does not reorder writes', async () => {
	const store = new Store<Todo>();
	server = await serveTables([todosSync(store)]);
	const now = Date.now();
	vi.useFakeTimers({ toFake: ['Date'], now: now + 1_000 });
	const sync = client();
	await sync.todos.add(todo('a', { title: '1' }));
	vi.setSystemTime(now - 3_600_000);
	await sync.todos.update('a', { title: '2' });
	await soon(() => store.rows.get('a')?.title).toBe('2');
	await soon(() => sync.pending).toEqual([]);
	expect((await sync.todos.get('a'))?.title).toBe('2');
});

/** A storage whose next requests fail. */
function failing() {
	const { indexedDB } = storage();
	let error: Error | undefined;
	const fail = {
		set: (next: Error | undefined): void => void (error = next),
		indexedDB: new Proxy(indexedDB, {
			get(target, name) {
				const member = Reflect.get(target, name) as unknown;
				if (typeof member !== 'function') return member;
				return (...args: unknown[]): unknown => {
					if (name === 'open' && error) throw error;
					return (member as (...args: unknown[]) => unknown).apply(target, args);
				};
			}
		}) as IDBFactory
	};
	return fail;
}

test('without IndexedDB there is a named error, or memory where it is given', async () => {
	const broken = failing();
	broken.set(new DOMException('The operation is insecure.', 'SecurityError'));
	vi.stubGlobal('indexedDB', broken.indexedDB);
	vi.stubGlobal('IDBKeyRange', IDBKeyRange);
	const onError = vi.fn();
	const sync = client({ memory: undefined, onError });
	await expect(sync.todos.add(todo('a'))).rejects.toMatchObject({ code: 'SYNC_STORAGE' });
	expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: 'SYNC_STORAGE' }));
	expect(sync.status.error?.code).toBe('SYNC_STORAGE');
	const inMemory = client({ onError });
	await inMemory.todos.add(todo('a'));
	expect(await inMemory.todos.toArray()).toEqual([todo('a')]);
	expect(inMemory.status.error?.code).toBe('SYNC_STORAGE');
});

test('a full storage is a named error, and the write is not half there', async () => {
	const sync = client();
	await sync.todos.add(todo('a'));
	const quota = vi.spyOn(IDBObjectStore.prototype, 'add').mockImplementation(() => {
		throw new DOMException('Full', 'QuotaExceededError');
	});
	await expect(sync.todos.add(todo('b'))).rejects.toMatchObject({ code: 'SYNC_QUOTA' });
	quota.mockRestore();
	expect(sync.status.error?.code).toBe('SYNC_QUOTA');
	expect(await sync.todos.toArray()).toEqual([todo('a')]);
	await sync.todos.add(todo('c'));
	expect(sync.pending).toHaveLength(2);
});

test('a connection that the browser has lost is opened once more', async () => {
	const sync = client();
	await sync.todos.add(todo('a'));
	const original = IDBDatabase.prototype.transaction;
	let lost = 2;
	const spy = vi.spyOn(IDBDatabase.prototype, 'transaction').mockImplementation(function (
		this: IDBDatabase,
		...args: never[]
	) {
		if (lost-- > 0) {
			throw new DOMException(
				'Connection to Indexed Database server lost. Refresh the page to try again',
				'UnknownError'
			);
		}
		return (original as (...args: never[]) => never).apply(this, args);
	} as never);
	await sync.todos.add(todo('b'));
	spy.mockRestore();
	expect(await sync.todos.toArray()).toEqual([todo('a'), todo('b')]);
});

test('on the server it does nothing, and says so', async () => {
	const sync = client({ memory: undefined });
	expect(sync.status).toMatchObject({ pending: 0, error: null, leads: false });
	expect(sync.pending).toEqual([]);
	await expect(sync.todos.add(todo('a'))).rejects.toMatchObject({ code: 'CLOSED' });
});

test('options that cannot work are refused', () => {
	const tables = { todos: { table: todos } };
	expect(() => new SyncClient({ name: '', tables })).toThrow('name');
	expect(() => new SyncClient({ name: 'x', tables: {} })).toThrow('tables');
	expect(() => new SyncClient({ name: 'x', tables: { retry: { table: todos } } })).toThrow('retry');
	expect(() => new SyncClient({ name: 'x', tables: { a: {} as never } })).toThrow('tables.a');
	expect(
		() => new SyncClient({ name: 'x', tables: { a: { table: todos }, b: { table: todos } } })
	).toThrow('twice');
});
