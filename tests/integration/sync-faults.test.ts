import { afterEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import {
	createPublisher,
	defineSync,
	defineTable,
	type TableSync
} from '../../src/lib/sync/server/index.js';
import type { SyncClient } from '../../src/lib/sync/index.js';
import {
	isCurrent,
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
	vi.restoreAllMocks();
	for (const client of open.splice(0)) client.close();
	await server?.end();
	server = undefined;
});

function client(more: object = {}, way = new Way('alice')) {
	const sync = todosClient(server?.url ?? 'http://127.0.0.1:9/', way, more);
	open.push(sync);
	return sync;
}

async function world(change: (options: Record<string, unknown>) => void = () => {}) {
	const store = new Store<Todo>();
	const sync = todosSync(store);
	change(sync.options as never);
	server = await serveTables([sync]);
	return { store, sync, publisher: createPublisher(server.realtime, [sync]) };
}

test('a stranger’s write of a row that its handler hides takes it from nobody', async () => {
	const { store } = await world((options) => {
		const { update } = options as { update: (...args: unknown[]) => unknown };
		options.update = (context: { identity: { id: string } }, id: string, changes: unknown) =>
			store.rows.get(id)?.owner === context.identity.id ? update(context, id, changes) : null;
	});
	store.set(todo('a', { owner: 'alice' }));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	expect(await alice.todos.count()).toBe(1);
	const mallory = new Way('mallory');
	const stamp = '0mxyz0000-0000-page';
	const rows = [{ key: 'a', row: todo('a'), fields: ['title'] }];
	const answer = await mallory.fetch(server!.url, {
		method: 'POST',
		body: JSON.stringify({ event: 'sync/todos/update', id: 'x', v: 1, data: { stamp, rows } })
	});
	expect(((await answer.json()) as { result: unknown }).result).toMatchObject({
		results: [{ row: null }]
	});
	await alice.todos.add(todo('b'));
	await soon(() => store.rows.has('b')).toBe(true);
	await soon(() => alice.pending).toEqual([]);
	expect(await alice.todos.get('a')).toEqual(todo('a', { owner: 'alice' }));
});

test('changes of one row in one message count in order', async () => {
	const { store, publisher } = await world();
	store.set(todo('b'));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	await publisher.batch([
		['todos', 'create', 'a', todo('a')],
		['todos', 'delete', 'a', { owner: 'all' }],
		['todos', 'create', 'b', todo('b', { title: 'Milk' })],
		['todos', 'update', 'b', { done: true, owner: 'all' }],
		['todos', 'create', 'c', todo('c')]
	]);
	await soon(() => alice.todos.get('c')).toBeDefined();
	expect(await alice.todos.toArray()).toEqual([
		todo('b', { title: 'Milk', done: true }),
		todo('c')
	]);
});

test('a row that a page has twice, or also as deleted, is as it was last', async () => {
	let pages: object[] = [];
	const { store } = await world((options) => {
		options.fetch = () => pages.shift() ?? { rows: [], cursor: 1 };
	});
	pages = [{ rows: [todo('a')], cursor: 1 }];
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	pages = [
		{
			rows: [todo('a', { title: 'old' }), todo('a'), todo('b')],
			deleted: ['a', 'b'],
			cursor: 2
		}
	];
	alice.retry();
	await soon(() => alice.todos.get('b')).toEqual(todo('b'));
	expect(await alice.todos.toArray()).toEqual([todo('a'), todo('b')]);
	expect(store.calls).toEqual([]);
});

test('bulk forms take a key twice: the last one counts', async () => {
	const { store } = await world();
	store.set(todo('a'));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	await alice.todos.bulkUpdate([
		{ key: 'a', changes: { title: 'Milk' } },
		{ key: 'a', changes: { done: true } }
	]);
	await soon(() => alice.pending).toEqual([]);
	expect(await alice.todos.get('a')).toEqual(todo('a', { title: 'Milk', done: true }));
	await alice.todos.bulkPut([
		todo('b', { title: 'first' }),
		todo('b', { title: 'second' }),
		todo('a', { title: 'x' }),
		todo('a', { title: 'y' })
	]);
	await alice.todos.bulkDelete(['c', 'c']);
	await soon(() => alice.pending).toEqual([]);
	const rows = [todo('a', { title: 'y' }), todo('b', { title: 'second' })];
	expect(await alice.todos.toArray()).toEqual(rows);
	expect([...store.rows.values()]).toEqual(rows);
});

test('puts of one row at the same time are all taken, and a bulk is written as a whole or not at all', async () => {
	const sync = client();
	await Promise.all([1, 2, 3].map((n) => sync.todos.put(todo('a', { title: `T${n}` }))));
	expect(await sync.todos.toArray()).toEqual([todo('a', { title: 'T3' })]);
	await Promise.all([sync.todos.delete('a'), sync.todos.put(todo('a', { title: 'back' }))]);
	expect(await sync.todos.toArray()).toEqual([todo('a', { title: 'back' })]);
	const before = sync.pending.length;
	await expect(
		sync.todos.bulkPut([todo('b'), todo('a', { title: 'x'.repeat(101) })])
	).rejects.toMatchObject({ code: 'EVENT_INVALID' });
	expect(await sync.todos.count()).toBe(1);
	expect(sync.pending).toHaveLength(before);
});

test('an answer that could not be stored at first is not lost', async () => {
	const { store } = await world();
	store.set(todo('a'));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	// Nobody else tells it.
	vi.spyOn(server!.realtime, 'emit').mockResolvedValue(undefined as never);
	const { IDBObjectStore } = await import('fake-indexeddb');
	let failures = 0;
	vi.spyOn(IDBObjectStore.prototype, 'delete').mockImplementation(function () {
		failures++;
		vi.mocked(IDBObjectStore.prototype.delete).mockRestore();
		throw new DOMException('Full', 'QuotaExceededError');
	});
	await alice.todos.update('a', { title: 'no' });
	await soon(() => alice.pending).toEqual([]);
	await alice.todos.update('a', { title: 'Milk' });
	await soon(() => alice.pending).toEqual([]);
	expect(failures).toBe(1);
	expect(await alice.todos.get('a')).toEqual(todo('a', { title: 'Milk' }));
});

test('a write that began before clear() leaves nothing behind', async () => {
	const memory = storage();
	const sync = client({ memory, name: 'clearing' });
	await sync.todos.add(todo('a'));
	const writes = [
		sync.todos.add(todo('b')),
		sync.todos.local.put(todo('c')),
		sync.todos.bulkPut([todo('d')])
	];
	const cleared = sync.clear();
	writes.push(sync.todos.add(todo('e')));
	await Promise.allSettled(writes);
	await cleared;
	await Promise.allSettled(writes);
	const next = client({ memory, name: 'clearing' });
	expect(await next.todos.toArray()).toEqual([]);
	expect(next.pending).toEqual([]);
});

test('a handler that is always too slow, or away, holds up no other row', async () => {
	const { store } = await world((options) => {
		const { create } = options as { create: (...args: unknown[]) => unknown };
		options.create = (context: unknown, row: Todo) => {
			if (row.title === 'busy') throw { status: 503, body: { message: 'Busy.' } };
			return create(context, row);
		};
	});
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	await alice.todos.add(todo('slow', { title: 'busy' }));
	await alice.todos.add(todo('slow2', { title: 'busy' }));
	await soon(() => alice.status.online).toBe(false);
	for (let n = 0; n < 10; n++) await alice.todos.add(todo(`t${n}`));
	await soon(() => store.rows.size).toBe(10);
});

test('two clients of one name in one page: when the newer one ends, the older one syncs again', async () => {
	const { store } = await world();
	const memory = storage();
	const first = client({ memory, name: 'same' });
	await soon(() => first.status.leads).toBe(true);
	const second = client({ memory, name: 'same' });
	await soon(() => second.status.leads).toBe(true);
	expect(first.status.leads).toBe(false);
	second.close();
	second.close();
	await soon(() => first.status.leads).toBe(true);
	await first.todos.add(todo('a'));
	await soon(() => store.rows.has('a')).toBe(true);
	first.close();
	const third = client({ memory, name: 'same' });
	await soon(() => third.status.leads).toBe(true);
	expect(first.status.leads).toBe(false);
});

test('a merge that throws, or answers with another row, holds up nothing', async () => {
	for (const merge of [
		() => {
			throw new Error('merge is broken');
		},
		(_: Todo, local: Todo) => ({ ...local, id: 'other', title: 'merged' }),
		() => undefined
	]) {
		const { store } = await world();
		store.set(todo('a'));
		const way = new Way('alice');
		const errors: unknown[] = [];
		const sync = client(
			{
				tables: { todos: { table: todos, merge } },
				onError: (error: unknown) => errors.push(error)
			},
			way
		);
		await soon(() => isCurrent(sync)).toBe(true);
		way.down();
		await sync.todos.update('a', { title: 'mine' });
		store.set(todo('a', { title: 'yours', done: true }));
		way.up();
		sync.retry();
		await soon(() => sync.pending).toEqual([]);
		await soon(() => store.rows.get('a')?.title).toMatch(/^(mine|merged)$/);
		await soon(() => isCurrent(sync)).toBe(true);
		expect(await sync.todos.toArray()).toEqual([store.rows.get('a')]);
		sync.close();
		await server!.end();
	}
});

test('what this side wrote is not merged with itself', async () => {
	const { store } = await world();
	store.set(todo('a'));
	const merge = vi.fn((server: Todo, local: Todo) => ({
		...local,
		title: `${server.title}|${local.title}`
	}));
	const sync = client({ tables: { todos: { table: todos, merge } } });
	await soon(() => isCurrent(sync)).toBe(true);
	for (const title of ['T1', 'T2', 'T3']) await sync.todos.update('a', { title });
	await soon(() => sync.pending).toEqual([]);
	await soon(() => store.rows.get('a')?.title).toBe('T3');
	expect(merge).not.toHaveBeenCalled();
});

test('what cannot be JSON, and another key, are refused with a name', async () => {
	const table = defineTable('things', {
		schema: z.object({ id: z.string().toLowerCase(), value: z.any() }),
		key: 'id'
	});
	const sync = client({ tables: { things: { table } } }) as unknown as SyncClient<{
		things: typeof table;
	}>;
	const cyclic: Record<string, unknown> = {};
	cyclic.self = cyclic;
	for (const value of [1n, { deep: 1n }, cyclic]) {
		await expect(sync.things.add({ id: 'a', value })).rejects.toMatchObject({
			code: 'EVENT_INVALID'
		});
		await expect(sync.things.local.put({ id: 'a', value })).rejects.toMatchObject({
			code: 'EVENT_INVALID'
		});
	}
	await expect(sync.things.add({ id: 'A', value: 1 })).rejects.toMatchObject({
		code: 'EVENT_INVALID'
	});
	await sync.things.add({ id: 'a', value: 1 });
	await expect(sync.things.update('a', { id: 'b', value: 2 })).rejects.toMatchObject({
		code: 'EVENT_INVALID'
	});
	expect(await sync.things.update('a', { id: 'a', value: 2 })).toBe(1);
	expect(await sync.things.toArray()).toEqual([{ id: 'a', value: 2 }]);
	expect(sync.pending).toHaveLength(2);
});

test('close() while the copy opens is quiet', async () => {
	const onError = vi.fn();
	for (let n = 0; n < 5; n++) {
		const sync = client({ onError });
		const write = sync.todos.add(todo('a'));
		for (let turn = 0; turn < n; turn++) await Promise.resolve();
		sync.close();
		await expect(write).rejects.toMatchObject({ code: 'CLOSED' });
		expect(sync.status.error).toBeNull();
	}
	expect(onError).not.toHaveBeenCalled();
});

test('what an app’s own callbacks throw breaks nothing', async () => {
	const { store } = await world();
	const rejected: unknown[] = [];
	const uncaught: unknown[] = [];
	const listen = (error: unknown): void => void uncaught.push(error);
	const others = process.listeners('uncaughtException');
	process.removeAllListeners('uncaughtException').on('uncaughtException', listen);
	try {
		const alice = client({
			onRejected: ({ key }: { key: unknown }) => {
				rejected.push(key);
				throw new Error('from the app');
			}
		});
		await alice.todos.bulkAdd([todo('a', { title: 'no' }), todo('b', { title: 'no' }), todo('c')]);
		await soon(() => rejected).toEqual(['a', 'b']);
		await soon(() => alice.pending).toEqual([]);
		expect(store.rows.has('c')).toBe(true);
		expect(store.calls.filter(([name]) => name === 'create')).toHaveLength(3);
	} finally {
		process.removeListener('uncaughtException', listen);
		for (const other of others) process.on('uncaughtException', other);
	}
});

test('an error of the storage is over when it works again', async () => {
	const { IDBObjectStore } = await import('fake-indexeddb');
	const sync = client();
	await sync.todos.add(todo('a'));
	const spy = vi.spyOn(IDBObjectStore.prototype, 'add').mockImplementation(() => {
		throw new DOMException('Full', 'QuotaExceededError');
	});
	await expect(sync.todos.add(todo('b'))).rejects.toMatchObject({ code: 'SYNC_QUOTA' });
	expect(sync.status.error?.code).toBe('SYNC_QUOTA');
	spy.mockRestore();
	await sync.todos.add(todo('b'));
	expect(sync.status.error).toBeNull();
});

test('who is in more teams than a request may name channels of is told of all changes', async () => {
	const { store } = await world();
	const teams = Array.from({ length: 150 }, (_, n) => `team${n}`);
	store.set(todo('a', { owner: 'team149' }));
	const alice = client({}, new Way('alice', teams));
	await soon(() => alice.todos.count()).toBe(1);
	await soon(() => alice.status.online).toBe(true);
	const bob = client({}, new Way('bob', ['team149', 'team3']));
	await soon(() => isCurrent(bob)).toBe(true);
	await bob.todos.update('a', { done: true });
	await bob.todos.add(todo('b', { owner: 'team3' }));
	await soon(async () => (await alice.todos.get('a'))?.done).toBe(true);
	await soon(() => alice.todos.get('b')).toBeDefined();
});

test('who leaves a team is online again at once', async () => {
	const { store } = await world();
	store.set(todo('a', { owner: 'red' }));
	const way = new Way('alice', ['red']);
	const alice = client({}, way);
	await soon(() => isCurrent(alice)).toBe(true);
	way.teams = [];
	way.cut();
	await soon(() => alice.todos.count()).toBe(0);
	await soon(() => alice.status.online).toBe(true);
});

test('a scope that changes in the middle of a full fetch brings everything of the new one', async () => {
	let asked = 0;
	let joinsAt = 0;
	const way = new Way('alice');
	const { store } = await world((options) => {
		const { fetch } = options as { fetch: (...args: unknown[]) => unknown };
		options.fetch = async (context: unknown, range: { cursor: unknown }) => {
			const page = await fetch(context, range);
			// Joins when the first page of the second fetch has been read.
			if (++asked === joinsAt) way.teams = ['red'];
			return page;
		};
	});
	store.set(todo('red', { owner: 'red' }));
	store.set(todo('a'));
	const alice = client({}, way);
	await soon(() => isCurrent(alice)).toBe(true);
	// The server knows the cursor no more: everything again, while the copy is not empty.
	store.epoch++;
	joinsAt = asked + 1;
	alice.retry();
	await soon(() => alice.todos.toArray()).toEqual([todo('a'), todo('red', { owner: 'red' })]);
});

test('an empty page is no end while its cursor goes on', async () => {
	const pages = [
		{ rows: [], cursor: 1 },
		{ rows: [], cursor: 2 },
		{ rows: [todo('a')], cursor: 3 },
		{ rows: [], cursor: 3 }
	];
	await world((options) => {
		options.fetch = (_: unknown, { cursor }: { cursor: number | null }) =>
			pages[Math.min(cursor ?? 0, pages.length - 1)];
	});
	const alice = client();
	await soon(() => alice.todos.count()).toBe(1);
	await soon(() => isCurrent(alice)).toBe(true);
});

test('a database that is another one again while everything is fetched is no endless fetch', async () => {
	let asked = 0;
	const { store } = await world((options) => {
		options.fetch = (_: unknown, { cursor }: { cursor: unknown }) => {
			if (++asked === 3) store.epoch++;
			return store.fetch(cursor, 1, () => true);
		};
	});
	for (const id of ['a', 'b', 'c']) store.set(todo(id));
	const memory = storage();
	const first = client({ memory, name: 'epochs' });
	await soon(() => isCurrent(first)).toBe(true);
	first.close();
	store.epoch++;
	asked = 0;
	const second = client({ memory, name: 'epochs' });
	store.set(todo('d'));
	await soon(() => second.todos.count()).toBe(4);
	await soon(() => isCurrent(second)).toBe(true);
	expect(second.status.tables.todos.error).toBeNull();
});

test('a handler that returns another row is a fault of the server, and is named', async () => {
	const { store } = await world((options) => {
		options.create = (_: unknown, row: Todo) => store.set({ ...row, id: 'other' });
	});
	const alice = client();
	await alice.todos.add(todo('a'));
	await soon(() => JSON.stringify(server!.failures.map(String)).length).toBeGreaterThan(2);
	await soon(() =>
		server!.failures.some((failure) =>
			String((failure as { error?: unknown }).error).includes('another key')
		)
	).toBe(true);
	expect(await alice.todos.get('a')).toEqual(todo('a'));
	expect(alice.pending).toHaveLength(1);
});

const v1 = defineTable('notes', {
	schema: z.object({ id: z.string(), text: z.string(), done: z.boolean().default(false) }),
	key: 'id'
});
const v2 = (more: object = {}) =>
	defineTable('notes', {
		schema: z.object({ id: z.string(), title: z.string(), done: z.boolean() }),
		key: 'id',
		version: 2,
		upgrade: {
			1: ({ text, ...row }: { text: string; id: string; done: boolean }) => ({
				...row,
				title: text
			})
		},
		...more
	});
const notesOf = (table: unknown, more: object = {}, way?: Way) =>
	client({ name: 'notes', tables: { notes: { table } }, ...more }, way) as unknown as {
		notes: {
			toArray(): Promise<unknown[]>;
			add(row: object): Promise<string>;
			update(key: string, changes: object): Promise<number>;
		};
		pending: unknown[];
		status: {
			online: boolean;
			leads: boolean;
			error: { code: string } | null;
			tables: { notes: { lastSyncAt: Date | null; error: { code: string } | null } };
		};
		close(): void;
	};

function notesSync(table: unknown, store: Store<never>) {
	return defineSync({
		table: table as typeof v1,
		authorize: () => true,
		scope: () => 'all',
		fetch: (_, { cursor }) => store.fetch(cursor, 10, () => true) as never,
		create: (_, row) => store.set(row as never) as never,
		update: (_, id, changes) => {
			const row = store.rows.get(id);
			return row ? (store.set({ ...(row as object), ...changes } as never) as never) : null;
		}
	}) as unknown as TableSync;
}

test('writes of an older version that wait are visible as rows of the present one', async () => {
	const store = new Store<never>();
	server = await serveTables([notesSync(v1, store)]);
	const { url } = server;
	const port = Number(new URL(url).port);
	const memory = storage();
	const way = new Way('alice');
	store.set({ id: 'x', text: 'Shared', done: false } as never);
	const old = notesOf(v1, { memory }, way);
	await soon(() => old.status.tables.notes.lastSyncAt).not.toBeNull();
	way.down();
	await old.notes.add({ id: 'a', text: 'One' });
	await old.notes.update('a', { text: 'Two' });
	await old.notes.update('x', { text: 'Mine' });
	old.close();
	await server.end();
	const next = v2();
	for (const row of [...store.rows.values()] as { id: string; text: string }[]) {
		store.set({ id: row.id, title: row.text, done: true } as never);
	}
	server = await serveTables([notesSync(next, store)], { port });
	const seen: string[] = [];
	const way2 = new Way('alice');
	way2.down();
	const now = notesOf(next, { memory, endpoint: url }, way2);
	expect(await now.notes.toArray()).toEqual([
		{ id: 'a', title: 'Two', done: false },
		{ id: 'x', title: 'Mine', done: false }
	]);
	const { liveQuery } = await import('dexie');
	const watch = liveQuery(() => now.notes.toArray()).subscribe((rows) => {
		seen.push(
			...rows.map((row) =>
				Object.keys(row as object)
					.sort()
					.join()
			),
			...(rows as { title: string }[]).map(({ title }) => title)
		);
	});
	way2.up();
	(now as unknown as { retry(): void }).retry();
	await soon(() => now.pending).toEqual([]);
	await soon(() => now.notes.toArray()).toEqual([
		{ id: 'a', title: 'Two', done: false },
		{ id: 'x', title: 'Mine', done: true }
	]);
	watch.unsubscribe();
	expect([...new Set(seen)].sort()).toEqual(['Mine', 'Two', 'done,id,title']);
	expect([...store.rows.values()]).toEqual([
		{ id: 'x', title: 'Mine', done: true },
		{ id: 'a', title: 'Two', done: false }
	]);
});

test('what a page of an older version wrote stays visible there when the server has it', async () => {
	const store = new Store<never>();
	server = await serveTables([notesSync(v2(), store)]);
	const old = notesOf(v1);
	await old.notes.add({ id: 'a', text: 'One' });
	await soon(() => old.pending).toEqual([]);
	await soon(() => store.rows.size).toBe(1);
	expect(await old.notes.toArray()).toEqual([{ id: 'a', text: 'One', done: false }]);
});

test('a page whose copy another page has brought to another version stops, and lets the other sync', async () => {
	const store = new Store<never>();
	store.set({ id: 'x', title: 'Shared', done: false } as never);
	server = await serveTables([notesSync(v2(), store)]);
	const memory = storage();
	const onError = vi.fn();
	const old = notesOf(v1, { memory, onError });
	await soon(() => old.status.leads).toBe(true);
	await soon(() => old.status.tables.notes.error?.code).toBe('SYNC_OUTDATED');
	const now = notesOf(v2(), { memory });
	await soon(() => now.notes.toArray()).toEqual([{ id: 'x', title: 'Shared', done: false }]);
	await soon(() => old.status.error?.code).toBe('SYNC_OUTDATED');
	await expect(old.notes.add({ id: 'b', text: 'x' })).rejects.toMatchObject({
		code: 'SYNC_OUTDATED'
	});
	expect(await now.notes.toArray()).toEqual([{ id: 'x', title: 'Shared', done: false }]);
	expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: 'SYNC_OUTDATED' }));
});

test('in a deploy, a new page that meets an old server waits for the new one', async () => {
	const store = new Store<never>();
	server = await serveTables([notesSync(v1, store)]);
	const port = Number(new URL(server.url).port);
	const onRejected = vi.fn();
	const now = notesOf(v2(), { onRejected });
	await now.notes.add({ id: 'a', title: 'One', done: false });
	await soon(() => now.status.tables.notes.error?.code).toBe('SYNC_OFFLINE');
	await soon(() => now.status.online).toBe(false);
	expect(now.pending).toHaveLength(1);
	await server.end();
	server = await serveTables([notesSync(v2(), store)], { port });
	await soon(() => now.pending).toEqual([]);
	await soon(() => now.status.tables.notes.error).toBeNull();
	expect([...store.rows.values()]).toEqual([{ id: 'a', title: 'One', done: false }]);
	expect(onRejected).not.toHaveBeenCalled();
});

test('an upgrade that throws has the copy fetched again', async () => {
	const store = new Store<never>();
	server = await serveTables([notesSync(v1, store)]);
	const port = Number(new URL(server.url).port);
	store.set({ id: 'x', text: 'Shared', done: false } as never);
	const memory = storage();
	const old = notesOf(v1, { memory });
	await soon(() => old.notes.toArray()).toHaveLength(1);
	old.close();
	await server.end();
	const broken = v2({
		upgrade: {
			1: () => {
				throw new Error('upgrade is broken');
			}
		}
	});
	store.set({ id: 'x', title: 'Shared', done: false } as never);
	server = await serveTables([notesSync(broken, store)], { port });
	const now = notesOf(broken, { memory });
	await soon(() => now.notes.toArray()).toEqual([{ id: 'x', title: 'Shared', done: false }]);
});
