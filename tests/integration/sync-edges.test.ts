import { IDBObjectStore } from 'fake-indexeddb';
import { afterEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import {
	createPublisher,
	defineSync,
	defineTable,
	type TableSync
} from '../../src/lib/sync/server/index.js';
import { SyncClient, type SyncRejection } from '../../src/lib/sync/index.js';
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
	vi.useRealTimers();
	vi.unstubAllGlobals();
	for (const client of open.splice(0)) client.close();
	await server?.end();
	server = undefined;
});

type Handlers = Record<
	'authorize' | 'scope' | 'fetch' | 'create' | 'update' | 'delete',
	(...args: never[]) => unknown
>;

async function world() {
	const store = new Store<Todo>();
	const sync = todosSync(store);
	server = await serveTables([sync]);
	const options = sync.options as unknown as Handlers;
	return { store, options, publisher: createPublisher(server.realtime, [sync]) };
}

function client(more: object = {}, way = new Way('alice')) {
	const sync = todosClient(server!.url, way, more);
	open.push(sync);
	return sync;
}

const NEVER = new Promise<never>(() => {});

test('another index, another table, and one less: the copy goes on, also in a tab that is open', async () => {
	const { store } = await world();
	const notes = defineTable('notes', { schema: z.object({ id: z.string() }), key: 'id' });
	const memory = storage();
	const name = 'indexes';
	const way = new Way('alice');
	const first = client({ memory, name }, way);
	await soon(() => isCurrent(first)).toBe(true);
	way.down();
	await first.todos.add(todo('a'));
	const more = { todos: { table: todos, indexes: ['title', 'owner'] }, notes: { table: notes } };
	const second = client({ memory, name, tables: more }, way);
	expect(await second.todos.where('title').equals('Tea').count()).toBe(1);
	await soon(() => second.pending).toHaveLength(1);
	await second.todos.add(todo('b', { title: 'Milk' }));
	expect(await first.todos.count()).toBe(2);
	await first.todos.add(todo('c'));
	expect(await second.todos.where('title').equals('Tea').count()).toBe(2);
	second.close();
	first.close();
	const third = client({ memory, name, tables: { todos: { table: todos } } }, way);
	expect(await third.todos.count()).toBe(3);
	way.up();
	third.retry();
	await soon(() => [...store.rows.keys()]).toEqual(['a', 'b', 'c']);
	await soon(() => third.pending).toEqual([]);
	expect(third.status.error).toBeNull();
});

test('an old tab that does not let go of the copy: a named error, and it opens when that is closed', async () => {
	await world();
	const memory = storage();
	const name = 'blocked';
	const first = client({ memory, name });
	await first.todos.add(todo('a'));
	first.close();
	const [{ version }] = (await memory.indexedDB.databases()) as { version: number }[] as [
		{ version: number }
	];
	const old = await new Promise<IDBDatabase>((resolve) => {
		const request = memory.indexedDB.open(`sveltekit-inngest ${name}`, version);
		request.onsuccess = () => resolve(request.result as unknown as IDBDatabase);
	});
	const onError = vi.fn();
	const next = client({
		memory,
		name,
		onError,
		tables: { todos: { table: todos, indexes: ['title', 'owner'] } }
	});
	await soon(() => next.status.error?.code).toBe('SYNC_BLOCKED');
	expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: 'SYNC_BLOCKED' }));
	old.close();
	await soon(() => next.status.error).toBeNull();
	await soon(() => next.todos.where('owner').equals('all').count()).toBe(1);
	await soon(() => next.pending).toEqual([]);
});

test('names that objects have of their own are names of tables like others', async () => {
	const names = ['status', 'pending', 'retry', 'open', 'close', 'on', 'use'];
	names.push('table', 'tables', 'transaction', 'then', 'name', 'local', 'a-b_1');
	const schema = z.object({ id: z.string(), n: z.number() });
	const stores = new Map(names.map((name) => [name, new Map<string, object>()]));
	const tables = names.map((name) => defineTable(name, { schema, key: 'id' }));
	server = await serveTables(
		tables.map((table) => {
			const rows = stores.get(table.name)!;
			return defineSync({
				table,
				authorize: () => true,
				scope: () => 'all',
				fetch: (_, { cursor }) =>
					cursor === null ? { rows: [...rows.values()] as never, cursor: 1 } : { rows: [], cursor },
				create: (_, row) => (rows.set(row.id, row), row)
			}) as unknown as TableSync;
		})
	);
	for (const rows of stores.values()) rows.set('a', { id: 'a', n: 1 });
	const property = (name: string): string =>
		['status', 'pending', 'retry', 'close', 'then'].includes(name) ? `my-${name}` : name;
	const sync = new SyncClient({
		name: 'names',
		endpoint: server.url,
		memory: storage(),
		fetch: new Way('alice').fetch,
		tables: Object.fromEntries([
			...tables.map((table) => [property(table.name), { table }] as const)
		]) as unknown as { constructor: { table: (typeof tables)[0] } }
	});
	open.push(sync);
	const all = sync as unknown as Record<string, typeof sync.constructor>;
	const status = sync.status.tables as unknown as Record<string, { lastSyncAt: Date | null }>;
	for (const name of names) {
		const rows = all[property(name)]!;
		await rows.add({ id: 'b', n: 2 });
		await soon(() => rows.toCollection().primaryKeys()).toEqual(['a', 'b']);
		await soon(() => status[property(name)]!.lastSyncAt).not.toBeNull();
		await soon(() => stores.get(name)!.has('b')).toBe(true);
	}
	await soon(() => sync.pending).toEqual([]);
	const [table] = tables;
	for (const name of ['status', 'pending', 'retry', 'clear', 'close', 'then']) {
		const tables = Object.fromEntries([[name, { table: table! }]]);
		expect(() => new SyncClient({ name: 'x', memory: storage(), tables }), name).toThrow(
			expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(name) })
		);
	}
	for (const name of [
		'__proto__',
		'constructor',
		'toString',
		'a:b',
		'a b',
		'',
		'$meta',
		'x'.repeat(65),
		'1a'
	]) {
		expect(() => defineTable(name, { schema, key: 'id' }), name).toThrow(
			expect.objectContaining({ code: 'INVALID_OPTION' })
		);
	}
});

test('an `authorize` that never settles holds up its own row alone', async () => {
	const { store, options } = await world();
	let isStuck = true;
	options.authorize = ((_: unknown, __: string, row?: Todo) =>
		isStuck && row?.id === 'stuck' ? NEVER : true) as never;
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	await alice.todos.add(todo('stuck'));
	for (let n = 0; n < 12; n++) await alice.todos.add(todo(`t${n}`));
	await soon(() => store.rows.size).toBe(12);
	await soon(() => alice.pending.map(({ keys }) => keys[0])).toEqual(['stuck']);
	await alice.todos.update('t1', { title: 'Milk' });
	await soon(() => store.rows.get('t1')?.title).toBe('Milk');
	expect(alice.status.online).toBe(true);
	isStuck = false;
});

test('a full storage in the middle of a delta: a named error, once, and it goes on when there is room', async () => {
	const { store, options } = await world();
	const { fetch } = options as unknown as { fetch: (context: unknown, range: object) => unknown };
	options.fetch = ((context: { identity: unknown }, { cursor }: { cursor: unknown }) =>
		store.fetch(cursor, 5, () => Boolean(context))) as never;
	expect(fetch).toBeDefined();
	for (let n = 0; n < 20; n++) store.set(todo(`t${n}`));
	const onError = vi.fn();
	let puts = 0;
	const { put } = IDBObjectStore.prototype;
	let isFull = true;
	vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(function (
		this: IDBObjectStore,
		...args
	) {
		if (this.name === 'todos' && isFull && ++puts > 7) {
			throw new DOMException('Full', 'QuotaExceededError');
		}
		return put.apply(this, args as never);
	});
	const alice = client({ onError });
	await soon(() => alice.status.tables.todos.error?.code).toBe('SYNC_QUOTA');
	// The page that there was room for is here as a whole, the other one not at all.
	expect(await alice.todos.count()).toBe(5);
	const before = puts;
	await soon(() => puts).toBeGreaterThan(before);
	isFull = false;
	await soon(() => alice.todos.count()).toBe(20);
	await soon(() => isCurrent(alice)).toBe(true);
	expect(alice.status.tables.todos.error).toBeNull();
	expect(onError.mock.calls.map(([{ code }]) => code as string)).toEqual(['SYNC_QUOTA']);
});

test('a clock that is set back by a day, while writes wait, also over a reload', async () => {
	const { store } = await world();
	const memory = storage();
	const way = new Way('alice');
	const stamps: number[] = [];
	const noted: typeof fetch = async (input, init) => {
		const { data } = JSON.parse(String(init?.body)) as { data?: { stamp?: string } };
		if (data?.stamp) stamps.push(parseInt(data.stamp.slice(0, 9), 36));
		return way.fetch(input, init);
	};
	const now = Date.now();
	vi.useFakeTimers({ toFake: ['Date'], now });
	way.down();
	const first = client({ memory, name: 'clock', fetch: noted });
	await first.todos.add(todo('a', { title: '1' }));
	vi.setSystemTime(now - 86_400_000);
	await first.todos.update('a', { title: '2' });
	first.close();
	const second = client({ memory, name: 'clock', fetch: noted });
	await second.todos.update('a', { title: '3' });
	way.up();
	second.retry();
	await soon(() => second.pending).toEqual([]);
	expect(store.rows.get('a')?.title).toBe('3');
	expect((await second.todos.get('a'))?.title).toBe('3');
	expect(Math.min(...stamps)).toBeGreaterThanOrEqual(now);
	expect(stamps).toEqual([...stamps].sort((one, other) => one - other));
});

test('any number of writes under way is no leak to Node', async () => {
	const { options } = await world();
	let release = (): void => {};
	const released = new Promise<void>((resolve) => (release = resolve));
	let running = 0;
	const { create } = options;
	options.create = async (...args: never[]) => {
		running++;
		await released;
		return create(...args);
	};
	const warnings: Error[] = [];
	const warn = (warning: Error): void => void warnings.push(warning);
	process.on('warning', warn);
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	const { now } = performance;
	let ahead = 0;
	vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + ahead);
	for (let n = 0; n < 24; n++) {
		// What is slow makes room for others.
		ahead += 500;
		await alice.todos.add(todo(`t${n}`));
	}
	await soon(() => running).toBeGreaterThan(12);
	release();
	ahead += 60_000;
	alice.retry();
	await soon(() => alice.pending).toEqual([]);
	await new Promise((resolve) => setTimeout(resolve, 10));
	process.off('warning', warn);
	expect(warnings.filter(({ name }) => name.includes('MaxListeners'))).toEqual([]);
});

test('clear() while writes and a fetch are under way leaves nothing behind', async () => {
	const { store, options } = await world();
	const memory = storage();
	const held: (() => void)[] = [];
	let isHeld = false;
	for (const name of ['fetch', 'update'] as const) {
		const handler = options[name];
		options[name] = async (...args: never[]) => {
			if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
			return handler(...args);
		};
	}
	store.set(todo('a'));
	const onRejected = vi.fn();
	const onError = vi.fn();
	const first = client({ memory, name: 'cleared', onRejected, onError });
	await soon(() => isCurrent(first)).toBe(true);
	isHeld = true;
	await first.todos.update('a', { title: 'Milk' });
	first.retry();
	await soon(() => held.length).toBe(2);
	store.set(todo('b'));
	await first.clear();
	for (const release of held) release();
	await soon(() => store.rows.get('a')?.title).toBe('Milk');
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(await first.todos.count()).toBe(0);
	expect(first.pending).toEqual([]);
	isHeld = false;
	const next = client({ memory, name: 'cleared' });
	expect(await next.todos.count()).toBe(0);
	await soon(() => next.todos.toArray()).toEqual([todo('a', { title: 'Milk' }), todo('b')]);
	expect(onRejected).not.toHaveBeenCalled();
	expect(onError).not.toHaveBeenCalled();
});

test('an update of a row that was deleted elsewhere meanwhile: it is gone here as well, and nothing is stuck', async () => {
	const { store } = await world();
	store.set(todo('a'));
	store.set(todo('b'));
	const onRejected = vi.fn();
	const way = new Way('alice');
	const alice = client({ onRejected }, way);
	await soon(() => isCurrent(alice)).toBe(true);
	way.down();
	await alice.todos.update('a', { title: 'mine' });
	await alice.todos.bulkUpdate([
		{ key: 'a', changes: { done: true } },
		{ key: 'b', changes: { done: true } }
	]);
	store.delete('a');
	way.up();
	alice.retry();
	await soon(() => alice.pending).toEqual([]);
	await soon(() => alice.todos.toArray()).toEqual([todo('b', { done: true })]);
	expect(store.rows.has('a')).toBe(false);
	expect(onRejected).not.toHaveBeenCalled();
});

test('bulk forms of 1,000 rows with one that is refused', async () => {
	const { store } = await world();
	const rejected: SyncRejection[] = [];
	const alice = client({ onRejected: (one: SyncRejection) => rejected.push(one) });
	await soon(() => isCurrent(alice)).toBe(true);
	const rows = Array.from({ length: 1_000 }, (_, n) =>
		todo(`t${String(n).padStart(4, '0')}`, n === 777 ? { title: 'no' } : {})
	);
	await alice.todos.bulkAdd(rows);
	expect(await alice.todos.count()).toBe(1_000);
	await soon(() => alice.pending).toEqual([]);
	expect(store.rows.size).toBe(999);
	await soon(() => alice.todos.count()).toBe(999);
	await soon(() => rejected.map(({ key, status }) => [key, status])).toEqual([['t0777', 403]]);
	const kept = rows.filter((_, n) => n !== 777);
	await alice.todos.bulkUpdate(
		kept.map(({ id }, n) => ({ key: id, changes: { title: n === 5 ? 'no' : 'Milk' } }))
	);
	await soon(() => alice.pending).toEqual([]);
	await soon(() => rejected).toHaveLength(2);
	await soon(() => alice.todos.filter(({ title }) => title === 'Milk').count()).toBe(998);
	expect((await alice.todos.get('t0005'))?.title).toBe('Tea');
	await alice.todos.bulkDelete(kept.map(({ id }) => id));
	await soon(() => alice.pending).toEqual([]);
	expect(await alice.todos.count()).toBe(0);
	expect(store.rows.size).toBe(0);
}, 30_000);

test('rows with dates, null, nested, missing and large values arrive as they are', async () => {
	const things = defineTable('things', {
		schema: z.object({
			id: z.number(),
			at: z.coerce.date(),
			none: z.string().nullable(),
			deep: z.object({ list: z.array(z.object({ at: z.coerce.date(), n: z.number() })) }),
			maybe: z.string().optional()
		}),
		key: 'id'
	});
	type Thing = z.output<typeof things.schema>;
	const rows = new Map<number, Thing>();
	const changes: number[] = [];
	const set = (row: Thing): Thing => {
		rows.set(row.id, row);
		changes.push(row.id);
		return row;
	};
	const seen: unknown[] = [];
	const sync = defineSync({
		table: things,
		authorize: () => true,
		scope: () => 'all',
		fetch: (_, { cursor }) => ({
			rows: [...new Set(changes.slice(Number(cursor)))].map((id) => rows.get(id)!),
			cursor: changes.length
		}),
		create: (_, row) => {
			seen.push(row.at instanceof Date, row.deep.list[0]?.at instanceof Date, 'maybe' in row);
			return set(row);
		},
		update: (_, id, changes) => {
			seen.push(Object.keys(changes));
			return set({ ...rows.get(id)!, ...changes });
		}
	});
	server = await serveTables([sync as unknown as TableSync]);
	const large = 'x'.repeat(100 * 1024);
	const at = new Date(86_400_000);
	const thing = (id: number, more: Partial<Thing> = {}): Thing => ({
		id,
		at,
		none: null,
		deep: { list: [{ at, n: 1 }] },
		...more
	});
	set(thing(1, { maybe: large }));
	const openThings = (user: string) => {
		const one = new SyncClient({
			name: user,
			endpoint: server!.url,
			memory: storage(),
			fetch: new Way(user).fetch,
			tables: { things: { table: things } }
		});
		open.push(one);
		return one;
	};
	const alice = openThings('alice');
	const bob = openThings('bob');
	const json = (row: Thing): unknown => JSON.parse(JSON.stringify(row));
	// What the server has may be large.
	await soon(() => alice.things.get(1)).toEqual(json(thing(1, { maybe: large })));
	await soon(() => bob.status.online).toBe(true);
	const publisher = createPublisher(server.realtime, [sync]);
	set(thing(2, { maybe: large }));
	await publisher.publish('things', 'create', 2, thing(2, { maybe: large }));
	await soon(() => bob.things.get(2)).toEqual(json(thing(2, { maybe: large })));
	await alice.things.add({ ...thing(3), maybe: undefined });
	await soon(() => bob.things.get(3)).toEqual(json(thing(3)));
	expect(await alice.things.update(3, { maybe: undefined, none: 'some', at: new Date(1) })).toBe(1);
	await soon(() => bob.things.get(3)).toEqual(json(thing(3, { none: 'some', at: new Date(1) })));
	await soon(() => alice.pending).toEqual([]);
	expect(await alice.things.get(3)).toEqual(await bob.things.get(3));
	expect(seen).toEqual([true, true, false, ['none', 'at']]);
	// What a page writes may have 48 KB.
	for (const write of [
		alice.things.add(thing(4, { maybe: large })),
		alice.things.put(thing(3, { maybe: large })),
		alice.things.update(3, { maybe: large })
	]) {
		await expect(write).rejects.toMatchObject({
			code: 'EVENT_INVALID',
			message: expect.stringContaining('bytes')
		});
	}
	await expect(alice.things.add({ ...thing(5), at: 'never' as never })).rejects.toMatchObject({
		code: 'EVENT_INVALID'
	});
	expect(await alice.things.count()).toBe(3);
	expect(alice.pending).toEqual([]);
});

test('a `scope` without ids: nobody has the row, and who had it loses it', async () => {
	const { store, options, publisher } = await world();
	options.scope = ((_: unknown, __: unknown, row: Todo) =>
		row.owner === 'nobody' ? [] : row.owner) as never;
	for (const id of ['a', 'b', 'c', 'd']) store.set(todo(id));
	const alice = client();
	const bob = client({}, new Way('bob'));
	await soon(() => isCurrent(alice) && isCurrent(bob)).toBe(true);
	await alice.todos.update('a', { owner: 'nobody' });
	await alice.todos.add(todo('n', { owner: 'nobody' }));
	for (const one of [alice, bob]) {
		await soon(() => one.todos.toCollection().primaryKeys()).toEqual(['b', 'c', 'd']);
	}
	expect(store.rows.get('n')?.owner).toBe('nobody');
	// What a publisher knows of a row may not be enough to tell: it is fetched.
	store.set(todo('b', { title: 'Milk' }));
	await publisher.publish('todos', 'update', 'b', { title: 'Milk', owner: 'nobody' });
	store.delete('c');
	await publisher.publish('todos', 'delete', 'c', { owner: 'nobody' });
	for (const one of [alice, bob]) {
		await soon(() => one.todos.toArray()).toEqual([todo('b', { title: 'Milk' }), todo('d')]);
	}
});

test('what is published in the same instant as a page writes: all have what the server has', async () => {
	const { store, options, publisher } = await world();
	const { update } = options;
	options.update = async (...args: never[]) => {
		const row = update(...args);
		await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
		return row;
	};
	for (let n = 0; n < 5; n++) store.set(todo(`t${n}`));
	const alice = client();
	const bob = client({}, new Way('bob'));
	await soon(() => isCurrent(alice) && isCurrent(bob)).toBe(true);
	for (let n = 0; n < 40; n++) {
		const id = `t${n % 5}`;
		const write = alice.todos.update(id, { title: `mine ${n}` });
		if (n % 3) await new Promise((resolve) => setTimeout(resolve, (n % 4) * 2));
		const changes = { done: n % 2 === 0, owner: 'all' };
		store.set({ ...store.rows.get(id)!, ...changes });
		await Promise.all([write, publisher.publish('todos', 'update', id, changes)]);
	}
	await soon(() => alice.pending).toEqual([]);
	for (const one of [alice, bob]) {
		await soon(() => one.todos.toArray()).toEqual([...store.rows.values()]);
	}
});
