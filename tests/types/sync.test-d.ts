import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
	createLiveQuery,
	defineTable,
	SyncClient,
	type SyncRow
} from '../../src/lib/sync/index.js';
import {
	createPublisher,
	defineSync,
	syncTables,
	type SyncContext,
	type SyncWriteContext
} from '../../src/lib/sync/server/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';

const todos = defineTable('todos', {
	schema: z.object({
		id: z.string(),
		title: z.string(),
		done: z.boolean().default(false),
		due: z.coerce.date<string | Date>().nullable().default(null)
	}),
	key: 'id'
});
const tags = defineTable('tags', {
	schema: z.object({ nr: z.number(), name: z.string() }),
	key: 'nr',
	version: 2
});

type Todo = { id: string; title: string; done: boolean; due: string | null };

test('a table knows its rows and its key', () => {
	expectTypeOf<SyncRow<typeof todos>>().toEqualTypeOf<Todo>();
	// @ts-expect-error there is no such field
	defineTable('x', { schema: z.object({ id: z.string() }), key: 'nr' });
	// @ts-expect-error a boolean is no key
	defineTable('x', { schema: z.object({ id: z.boolean() }), key: 'id' });
});

test('handlers get the output of the schema, and return rows', () => {
	const sync = defineSync({
		table: todos,
		authorize: (context, action, values) => {
			expectTypeOf(context).toEqualTypeOf<SyncContext>();
			expectTypeOf(action).toEqualTypeOf<'read' | 'create' | 'update' | 'delete'>();
			expectTypeOf(values?.due).toEqualTypeOf<Date | null | undefined>();
			return true;
		},
		scope: (_, __, row) => {
			expectTypeOf(row.title).toBeString();
			return row.title === 'x' ? 'all' : ['a', 'b'];
		},
		fetch: (_, { cursor, limit }) => {
			expectTypeOf(cursor).toEqualTypeOf<string | number | null>();
			expectTypeOf(limit).toBeNumber();
			return { rows: [{ id: 'a', title: 'Tea', done: true, due: new Date() }], cursor: 1 };
		},
		create: (context, row) => {
			expectTypeOf(context).toExtend<SyncWriteContext>();
			expectTypeOf(row.due).toEqualTypeOf<Date | null>();
			return row;
		},
		update: (_, id, changes) => {
			expectTypeOf(id).toBeString();
			expectTypeOf(changes.done).toEqualTypeOf<boolean | undefined>();
			return null;
		},
		delete: (_, id) => {
			expectTypeOf(id).toBeString();
		}
	});
	// @ts-expect-error scope is required
	defineSync({ table: todos, authorize: () => true, fetch: () => ({ rows: [], cursor: null }) });
	const tables = syncTables([sync]);
	createRealtime({ inngest: { id: 'x' }, channels: tables.channels, events: tables.events });
	createRealtime({
		inngest: { id: 'x' },
		channels: { ...tables.channels },
		events: { ...tables.events }
	});
});

test('a publisher knows the tables', () => {
	const todosSync = defineSync({
		table: todos,
		authorize: () => true,
		scope: () => 'all',
		fetch: () => ({ rows: [], cursor: null })
	});
	const tagsSync = defineSync({
		table: tags,
		authorize: () => true,
		scope: () => 'all',
		fetch: () => ({ rows: [], cursor: null })
	});
	const { publish, batch } = createPublisher({} as Realtime, [todosSync, tagsSync]);
	void publish('todos', 'update', 'a', { done: true });
	void publish('todos', 'create', 'a', { id: 'a', title: 'Tea', done: false, due: null });
	void publish('tags', 'delete', 7);
	void batch([
		['todos', 'delete', 'a', { title: 'Tea' }],
		['tags', 'update', 7, { name: 'x' }]
	]);
	// @ts-expect-error no such table
	void publish('others', 'delete', 'a');
	// @ts-expect-error the key of tags is a number
	void publish('tags', 'delete', 'a');
	// @ts-expect-error no such field
	void publish('todos', 'update', 'a', { finished: true });
	// @ts-expect-error a row that is created is whole
	void publish('todos', 'create', 'a', { title: 'Tea' });
});

test('a client has its tables, with Dexie’s reads', async () => {
	const sync = new SyncClient({
		name: 'alice',
		tables: {
			todos: {
				table: todos,
				indexes: ['done'],
				merge: (server, local) => ({ ...server, ...local })
			},
			tags: { table: tags }
		}
	});
	expectTypeOf(await sync.todos.get('a')).toEqualTypeOf<Todo | undefined>();
	expectTypeOf(await sync.todos.where('done').equals(1).toArray()).toEqualTypeOf<Todo[]>();
	expectTypeOf(await sync.tags.add({ nr: 1, name: 'x' })).toBeNumber();
	expectTypeOf(await sync.todos.add({ id: 'a', title: 'Tea' })).toBeString();
	expectTypeOf(await sync.todos.put('a', { due: new Date() })).toBeNumber();
	expectTypeOf(sync.status.tables.todos.lastSyncAt).toEqualTypeOf<Date | null>();
	await sync.todos.local.bulkPut([{ id: 'a', title: 'Tea' }]);
	// @ts-expect-error no title
	await sync.todos.add({ id: 'a' });
	// @ts-expect-error no such table
	void sync.others;
	// @ts-expect-error no such table
	void sync.status.tables.others;
	// @ts-expect-error writes of a table are those that are synced
	void sync.todos.clear;

	const open = createLiveQuery(() => sync.todos.toArray());
	expectTypeOf(open.current).toEqualTypeOf<Todo[] | undefined>();
	const one = createLiveQuery(
		(id) => sync.todos.get(id),
		() => 'a',
		{ initial: null }
	);
	expectTypeOf(one.current).toEqualTypeOf<Todo | undefined | null>();
	expectTypeOf(one.isLoading).toBeBoolean();
});
