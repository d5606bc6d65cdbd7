import { flushSync } from 'svelte';
import { afterEach, expect, test } from 'vitest';
import { createLiveQuery, SyncClient } from '../../src/lib/sync/index.js';
import { defineTable } from '../../src/lib/sync/shared/table.js';
import { z } from 'zod';

const todos = defineTable('todos', {
	schema: z.object({ id: z.string(), title: z.string(), list: z.string().default('home') }),
	key: 'id'
});
const tags = defineTable('tags', { schema: z.object({ id: z.string() }), key: 'id' });

let ends: (() => void)[] = [];
afterEach(() => {
	for (const end of ends.reverse()) end();
	ends = [];
});

let names = 0;
function client() {
	const sync = new SyncClient({
		name: `component-${Date.now()}-${++names}`,
		fetch: () => Promise.reject(new TypeError('offline')),
		tables: { todos: { table: todos, indexes: ['list'] }, tags: { table: tags } }
	});
	ends.push(() => sync.close());
	return sync;
}

/** Notes what an effect reads, whenever it runs. */
function watch<T>(read: () => T): T[] {
	const seen: T[] = [];
	ends.push(
		$effect.root(() => {
			$effect(() => void seen.push(read()));
		})
	);
	flushSync();
	return seen;
}

test('a live query runs again with what it reads, and only then', async () => {
	const sync = client();
	const titles = createLiveQuery(async () =>
		(await sync.todos.toArray()).map(({ title }) => title)
	);
	const ids = createLiveQuery(() => sync.tags.toCollection().primaryKeys());
	const seen = watch(() => titles.current?.join());
	const others = watch(() => ids.current?.length);
	await expect.poll(() => seen).toEqual([undefined, '']);
	await expect.poll(() => others).toEqual([undefined, 0]);
	await sync.todos.add({ id: 'a', title: 'Tea' });
	await expect.poll(() => seen.at(-1)).toBe('Tea');
	await sync.todos.update('a', { title: 'Milk' });
	await expect.poll(() => seen).toEqual([undefined, '', 'Tea', 'Milk']);
	expect(others).toEqual([undefined, 0]);
	await sync.tags.add({ id: 'x' });
	await expect.poll(() => others).toEqual([undefined, 0, 1]);
	expect(seen).toHaveLength(4);
});

test('a result of undefined is a result, and an error is no end', async () => {
	const sync = client();
	let isBroken = $state(false);
	const one = createLiveQuery(
		(broken) => {
			if (broken) throw new Error('broken');
			return sync.todos.get('none');
		},
		() => isBroken
	);
	const seen = watch(() => [one.current, one.isLoading, (one.error as Error)?.message]);
	expect(seen).toEqual([[undefined, true, undefined]]);
	await expect.poll(() => seen.at(-1)).toEqual([undefined, false, undefined]);
	isBroken = true;
	await expect.poll(() => seen.at(-1)).toEqual([undefined, false, 'broken']);
	isBroken = false;
	await expect.poll(() => seen.at(-1)).toEqual([undefined, false, undefined]);
});

test('a query that throws at first runs again when what it read changes', async () => {
	const sync = client();
	const one = createLiveQuery(async () => {
		const row = await sync.todos.get('a');
		if (!row) throw new Error('none');
		return row.title;
	});
	const seen = watch(() => [one.current, one.isLoading, (one.error as Error)?.message]);
	await expect.poll(() => seen.at(-1)).toEqual([undefined, false, 'none']);
	await sync.todos.add({ id: 'a', title: 'Tea' });
	await expect.poll(() => seen.at(-1)).toEqual(['Tea', false, undefined]);
	await sync.todos.delete('a');
	await expect.poll(() => seen.at(-1)).toEqual(['Tea', false, 'none']);
});

test('what a query answers for dependencies that have changed meanwhile counts for nothing', async () => {
	const sync = client();
	await sync.todos.local.bulkPut([
		{ id: 'a', title: 'Tea' },
		{ id: 'b', title: 'Desk', list: 'work' }
	]);
	let release = (): void => {};
	const released = new Promise<void>((resolve) => (release = resolve));
	let list = $state('home');
	const query = createLiveQuery(
		async (list) => {
			const rows = await sync.todos.where('list').equals(list).toArray();
			// The first one takes longer than the second.
			if (list === 'home') await released;
			return rows.map(({ id }) => id).join();
		},
		() => list
	);
	const seen = watch(() => query.current);
	await sync.todos.count();
	list = 'work';
	await expect.poll(() => seen.at(-1)).toBe('b');
	release();
	await sync.todos.add({ id: 'c', title: 'Pen', list: 'work' });
	await expect.poll(() => seen.at(-1)).toBe('b,c');
	expect(seen).not.toContain('a');
});

test('dependencies run the query again; what is there stays until it has a result', async () => {
	const sync = client();
	await sync.todos.local.bulkPut([
		{ id: 'a', title: 'Tea' },
		{ id: 'b', title: 'Desk', list: 'work' }
	]);
	let list = $state('home');
	const query = createLiveQuery(
		(list) => sync.todos.where('list').equals(list).toArray(),
		() => list,
		{ initial: [] }
	);
	const seen = watch(() => query.current.map(({ id }) => id).join());
	await expect.poll(() => seen).toEqual(['', 'a']);
	list = 'work';
	await expect.poll(() => seen.at(-1)).toBe('b');
	expect(seen.slice(2).every((ids) => ids !== '')).toBe(true);
});

test('runes are written as they are, and pending writes are runes', async () => {
	const sync = client();
	const draft = $state({ id: 'a', title: 'Tea', list: 'home' });
	const pending = watch(() => sync.pending.length);
	const status = watch(() => sync.status.pending);
	await sync.todos.add(draft);
	draft.title = 'Milk';
	await sync.todos.put(draft);
	await sync.todos.update('a', { title: $state.snapshot(draft).title });
	expect(await sync.todos.get('a')).toEqual({ id: 'a', title: 'Milk', list: 'home' });
	await expect.poll(() => pending.at(-1)).toBe(3);
	await expect.poll(() => status.at(-1)).toBe(3);
});

test('what is read by nobody runs no query', async () => {
	const sync = client();
	let runs = 0;
	const query = createLiveQuery(() => (runs++, sync.todos.count()));
	expect(query.current).toBeUndefined();
	expect(query.isLoading).toBe(true);
	await sync.todos.add({ id: 'a', title: 'Tea' });
	expect(runs).toBe(0);
});

test('tabs share the copy: one leads, and another takes its place; all see what each writes', async () => {
	const name = `tabs-${Date.now()}`;
	const posts: string[] = [];
	const frame = async (label: string) => {
		const sync = new SyncClient({
			name,
			fetch: (_, init) => {
				const { event } = JSON.parse(String(init?.body)) as { event?: string };
				if (event) posts.push(`${label} ${event}`);
				return Promise.reject(new TypeError('offline'));
			},
			tables: { todos: { table: todos } }
		});
		ends.push(() => sync.close());
		await sync.todos.count();
		return sync;
	};
	const first = await frame('first');
	await expect.poll(() => first.status.leads).toBe(true);
	// In one page, a client takes the place of the one before it.
	const second = await frame('second');
	await expect.poll(() => second.status.leads).toBe(true);
	expect(first.status.leads).toBe(false);
	await first.todos.add({ id: 'a', title: 'Tea' }).catch(() => {});
	await second.todos.add({ id: 'b', title: 'Milk' });
	await expect.poll(() => posts.filter((post) => post.includes('create'))).not.toEqual([]);
	expect(posts.filter((post) => post === 'first sync/todos/create')).toEqual([]);
});

test('many writes in a row are all there', async () => {
	const sync = client();
	const times: number[] = [];
	for (let n = 0; n < 50; n++) {
		const start = performance.now();
		await sync.todos.add({ id: `t${n}`, title: 'Tea' });
		times.push(performance.now() - start);
	}
	console.info('local write p50', times.sort((a, b) => a - b)[25]);
	expect(await sync.todos.count()).toBe(50);
});
