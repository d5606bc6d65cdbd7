import { afterEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { createTestRealtime } from '../../src/lib/testing/index.js';
import {
	createPublisher,
	defineSync,
	defineTable,
	syncTables,
	type SyncWriteContext
} from '../../src/lib/sync/server/index.js';
import { personOf, Store, todos, todosSync, type Todo } from '../support/sync/todos.js';

const STAMP = '0mxyz0000-0000-page';
let close = (): void => {};
afterEach(() => close());

function world(sync: Parameters<typeof syncTables>[0]) {
	const failures: unknown[] = [];
	const realtime = createTestRealtime({
		identify: ({ event }) => personOf(event.request),
		onFailure: (failure) => void failures.push(failure),
		...syncTables(sync)
	});
	close = () => realtime.close();
	const post = async (
		name: string,
		data: unknown,
		{ user = 'alice', id = crypto.randomUUID() as string, v = 1 } = {}
	) => {
		const response = await realtime.fetch('/', {
			method: 'POST',
			headers: user ? { 'x-user': user } : {},
			body: JSON.stringify({ event: name, id, v, data })
		});
		return { status: response.status, ...((await response.json()) as object) } as {
			status: number;
			result?: { results: Record<string, unknown>[] } & Record<string, unknown>;
			error?: string;
		};
	};
	return { realtime, post, failures };
}

const row = (id: string, more: Partial<Todo> = {}): Todo => ({
	id,
	title: 'Tea',
	done: false,
	owner: 'all',
	...more
});

test('nothing that is not valid reaches a handler', async () => {
	const store = new Store<Todo>();
	const { post } = world([todosSync(store)]);
	const create = (rows: unknown, stamp: unknown = STAMP) =>
		post('sync/todos/create', { stamp, rows });
	const forms = [
		null,
		'text',
		[],
		{},
		[null],
		[{}],
		[{ key: 'a' }],
		[{ key: null, row: row('a') }],
		[{ key: {}, row: row('a') }],
		[{ key: 'a', row: [] }],
		[{ key: 'a', row: row('a'), fields: ['title'] }],
		Array(1_001).fill({ key: 'a', row: {} })
	];
	for (const rows of forms) expect((await create(rows)).status, JSON.stringify(rows)).toBe(422);
	for (const stamp of [null, 7, '', 'x', '9'.repeat(99), `${STAMP}\n`]) {
		expect((await create([{ key: 'a', row: row('a') }], stamp)).status).toBe(422);
	}
	const bad = [
		{ key: 'a', row: { ...row('a'), title: 7 } },
		{ key: 'a', row: { ...row('a'), title: 'x'.repeat(101) } },
		// The key of another row.
		{ key: 'b', row: row('a') },
		{ key: 'a', row: {} }
	];
	const { result } = await create(bad);
	expect(result!.results.map(({ refused }) => (refused as { status: number }).status)).toEqual([
		422, 422, 422, 422
	]);
	for (const fields of [undefined, 'title', [7], [null]]) {
		const update = { stamp: STAMP, rows: [{ key: 'a', row: row('a'), fields }] };
		expect((await post('sync/todos/update', update)).status).toBe(422);
	}
	for (const rows of [[{ key: 'a', row: row('a') }], [{ key: '' }], [{ key: [] }]]) {
		expect((await post('sync/todos/delete', { stamp: STAMP, rows })).status).toBe(422);
	}
	const cursors = [undefined, {}, [], true, { $gt: '' }, 'x'.repeat(5_000)];
	for (const cursor of cursors) {
		expect((await post('sync/todos/fetch', { cursor, limit: 10 })).status).toBe(422);
	}
	for (const limit of [undefined, 0, -1, 1.5, '10', null]) {
		expect((await post('sync/todos/fetch', { cursor: null, limit })).status).toBe(422);
	}
	expect(store.calls).toEqual([]);
});

test('fields that the schema does not know, and those that were not written, reach no handler', async () => {
	const store = new Store<Todo>();
	store.set(row('a'));
	const { post } = world([todosSync(store)]);
	const evil = { ...row('a', { done: true, owner: 'alice' }), isAdmin: true };
	await post('sync/todos/update', {
		stamp: STAMP,
		rows: [{ key: 'a', row: evil, fields: ['done', 'isAdmin', 'id', 'constructor', 'toString'] }]
	});
	await post('sync/todos/create', { stamp: STAMP, rows: [{ key: 'a', row: evil }] });
	expect(store.calls).toEqual([
		['update', 'a', { done: true }],
		['create', row('a', { done: true, owner: 'alice' })]
	]);
});

test('fields of a row that the schema does not know stay on the server', async () => {
	const store = new Store<Todo & { secret: string }>();
	store.set({ ...row('a'), secret: 'hidden' });
	const { post, realtime } = world([todosSync(store)]);
	const fetched = await post('sync/todos/fetch', { cursor: null, limit: 10 });
	expect(fetched.result!.rows).toEqual([row('a')]);
	const written = await post('sync/todos/update', {
		stamp: STAMP,
		rows: [{ key: 'a', row: row('a', { title: 'Milk' }), fields: ['title'] }]
	});
	expect(written.result!.results[0]!.row).toEqual(row('a', { title: 'Milk' }));
	const channel = { name: 'sync:todos', topics: {} } as never;
	expect(JSON.stringify(realtime.stats())).not.toContain('hidden');
	expect(channel).toBeDefined();
});

test('each row is authorized by itself, and reading as well; a handler left out makes it read-only', async () => {
	const asked: unknown[] = [];
	const sync = defineSync({
		table: todos,
		scope: () => 'all',
		authorize: ({ identity }, action, values) => {
			asked.push([identity?.id, action, values]);
			return action === 'read' ? identity !== null : values?.id === 'mine';
		},
		fetch: () => ({ rows: [], cursor: null }),
		update: (_, id, changes) => ({ ...row(id), ...changes })
	});
	const { post } = world([sync]);
	const { result } = await post('sync/todos/update', {
		stamp: STAMP,
		rows: ['mine', 'other'].map((key) => ({ key, row: row(key), fields: ['title'] }))
	});
	expect(result!.results).toEqual([
		{ stamp: expect.any(String), row: row('mine') },
		{ refused: { status: 403, message: 'Not allowed to change this row.' } }
	]);
	expect(asked).toEqual([
		['alice', 'update', { id: 'mine', title: 'Tea' }],
		['alice', 'update', { id: 'other', title: 'Tea' }]
	]);
	expect((await post('sync/todos/fetch', { cursor: null, limit: 1 }, { user: '' })).status).toBe(
		403
	);
	const create = { stamp: STAMP, rows: [{ key: 'a', row: row('a') }] };
	expect((await post('sync/todos/create', create)).status).toBe(400);
	expect((await post('sync/todos/delete', { stamp: STAMP, rows: [{ key: 'a' }] })).status).toBe(
		400
	);
});

test('a page whose clock is wrong gains nothing: the write that is received last wins', async () => {
	const written: Date[] = [];
	const store = new Store<Todo>();
	const sync = defineSync({
		table: todos,
		authorize: () => true,
		scope: () => 'all',
		fetch: () => ({ rows: [], cursor: null }),
		create: (context: SyncWriteContext, given) => {
			written.push(context.writtenAt);
			return store.set(given);
		}
	});
	const { post } = world([sync]);
	const at = async (ms: number, title: string): Promise<string> => {
		const stamp = `${ms.toString(36).padStart(9, '0')}-0000-page`;
		const { result } = await post('sync/todos/create', {
			stamp,
			rows: [{ key: 'a', row: row('a', { title }) }]
		});
		return result!.results[0]!.stamp as string;
	};
	const before = Date.now();
	const future = await at(before + 86_400_000, 'from tomorrow');
	const past = await at(before - 86_400_000, 'from yesterday');
	const next = await at(Date.now(), 'now');
	expect(past > future && next > past).toBe(true);
	expect(store.rows.get('a')?.title).toBe('now');
	expect(written[0]!.getTime()).toBeLessThanOrEqual(Date.now());
	expect(written[1]!.getTime()).toBe(before - 86_400_000);
});

test('what is fetched is checked: only rows of the reader’s scopes, others count as deleted', async () => {
	const store = new Store<Todo>();
	store.set(row('all'));
	store.set(row('bob', { owner: 'bob' }));
	const sync = todosSync(store);
	// A fetch that forgets to filter.
	(sync.options as { fetch: unknown }).fetch = () => ({
		rows: [...store.rows.values()],
		cursor: 2
	});
	const { post } = world([sync]);
	const fetched = await post('sync/todos/fetch', { cursor: null, limit: 10 });
	expect(fetched.result).toMatchObject({ rows: [row('all')], deleted: ['bob'], scopes: ['alice'] });
});

test('rows of a bulk that were written keep their result when a later one fails', async () => {
	const store = new Store<Todo>();
	const { post } = world([todosSync(store)]);
	const id = 'bulk-1';
	const data = {
		stamp: STAMP,
		rows: ['a', 'b'].map((key) => ({ key, row: row(key, { title: key === 'b' ? 'fail' : 'ok' }) }))
	};
	expect((await post('sync/todos/create', data, { id })).status).toBe(500);
	expect((await post('sync/todos/create', data, { id })).status).toBe(500);
	const created = store.calls.map(([, given]) => (given as Todo).id);
	expect(created).toEqual(['a', 'b', 'b']);
});

test('a row of a bulk that is told again is not newer than what was written in between', async () => {
	const store = new Store<Todo>();
	const sync = todosSync(store);
	const { create } = sync.options as unknown as { create: (_: unknown, row: Todo) => Todo };
	let isAway = true;
	(sync.options as { create: unknown }).create = (context: unknown, given: Todo) => {
		if (isAway && given.id === 'b') throw new Error('The database is away.');
		return create(context, given);
	};
	const { post } = world([sync]);
	const rows = ['a', 'b'].map((key) => ({ key, row: row(key, { title: 'first' }) }));
	const first = () => post('sync/todos/create', { stamp: STAMP, rows }, { id: 'bulk' });
	expect((await first()).status).toBe(500);
	const change = { key: 'a', row: row('a', { title: 'second' }), fields: ['title'] };
	const second = await post('sync/todos/update', { stamp: STAMP, rows: [change] });
	isAway = false;
	const [again, between] = [await first(), second].map(
		({ result }) => result!.results[0]!.stamp as string
	);
	expect(again! < between!).toBe(true);
	expect(store.rows.get('a')?.title).toBe('second');
});

test('older pages are upgraded, row by row', async () => {
	const calls: unknown[] = [];
	const table = defineTable('notes', {
		schema: z.object({ id: z.string(), title: z.string(), done: z.boolean() }),
		key: 'id',
		version: 2,
		upgrade: {
			1: ({ id, text }: { id: string; text: string }) => ({ id, title: text, done: false })
		}
	});
	const sync = defineSync({
		table,
		authorize: () => true,
		scope: () => 'all',
		fetch: () => ({ rows: [], cursor: null }),
		create: (_, given) => (calls.push(given), given),
		update: (_, id, changes) => (
			calls.push([id, changes]),
			{ id, title: '', done: true, ...changes }
		)
	});
	const { post } = world([sync]);
	const old = { key: 'a', row: { id: 'a', text: 'Tea' } };
	await post('sync/notes/create', { stamp: STAMP, rows: [old] });
	await post('sync/notes/update', { stamp: STAMP, rows: [{ ...old, fields: ['text'] }] });
	expect(calls).toEqual([
		{ id: 'a', title: 'Tea', done: false },
		['a', { title: 'Tea', done: false }]
	]);
	expect((await post('sync/notes/fetch', { cursor: null, limit: 1 })).status).toBe(409);
	expect((await post('sync/notes/create', { stamp: STAMP, rows: [old] }, { v: 7 })).status).toBe(
		409
	);
});

test('a publisher tells those who receive the row; where nobody can say who, all fetch', async () => {
	const sync = todosSync(new Store<Todo>());
	const { realtime } = world([sync]);
	const publisher = createPublisher(realtime, [sync]);
	const heard: [scope: string, changes: unknown[]][] = [];
	const listen = async (scope: string): Promise<void> => {
		const channel = { name: `sync:todos${scope}`, topics: sync.channel.topics } as never;
		for await (const item of realtime.subscribe(channel)) {
			heard.push([scope, (item as { data: { changes: unknown[] } }).data.changes]);
		}
	};
	void listen('');
	void listen(':bob');
	await vi.waitFor(() => expect(realtime.stats().hub).toBeDefined(), 20_000);
	await publisher.publish('todos', 'update', 'a', { done: true, owner: 'bob' });
	await publisher.publish('todos', 'update', 'a', { done: true });
	await publisher.batch([
		['todos', 'create', 'b', row('b', { owner: 'bob' })],
		['todos', 'delete', 'c', { owner: 'bob' }]
	]);
	const stamp = expect.any(String) as string;
	await vi.waitFor(() => expect(heard).toHaveLength(5), 20_000);
	expect(heard.filter(([scope]) => scope === ':bob')).toEqual([
		[':bob', [{ stamp, key: 'a', fields: { id: 'a', done: true, owner: 'bob' } }]],
		[
			':bob',
			[
				{ stamp, row: row('b', { owner: 'bob' }) },
				{ stamp, gone: 'c' }
			]
		]
	]);
	expect(heard.filter(([scope]) => scope === '')).toEqual([
		['', [{ stamp, gone: 'a', except: [expect.any(Number)] }]],
		['', []],
		['', [{ stamp, gone: 'b', except: [expect.any(Number)] }]]
	]);
	await expect(publisher.publish('others' as 'todos', 'delete', 'a')).rejects.toThrow('"others"');
	await expect(publisher.publish('todos', 'delete', '')).rejects.toThrow('no key');
});

test('what is missing or wrong is said when it is defined', () => {
	const options = {
		table: todos,
		fetch: () => ({ rows: [], cursor: null }),
		authorize: () => true,
		scope: () => 'all'
	};
	for (const name of ['table', 'fetch', 'authorize', 'scope']) {
		expect(() => defineSync({ ...options, [name]: undefined } as never)).toThrow(name);
	}
	expect(() => defineSync({ ...options, update: 7 } as never)).toThrow('update');
	expect(() => syncTables([defineSync(options), defineSync(options)])).toThrow('Two tables');
	const schema = todos.schema;
	for (const name of ['', 'a b', 'a:b', '1a', '$outbox']) {
		expect(() => defineTable(name, { schema, key: 'id' })).toThrow('name');
	}
	expect(() => defineTable('a', { schema: {} as never, key: 'id' })).toThrow('schema');
	expect(() => defineTable('a', { schema, key: '' as 'id' })).toThrow('key');
	expect(() => defineTable('a', { schema, key: 'id', version: 0 })).toThrow('version');
});
