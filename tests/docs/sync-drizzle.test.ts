import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Realtime } from '../../src/lib/server/index.js';
import { SyncClient } from '../../src/lib/sync/index.js';
import type { defineTable } from '../../src/lib/sync/index.js';
import { serve, type TestServer } from '../support/server.js';
import { soon, storage, Way } from '../support/sync/client.js';
import { readPage, ROOT } from './support/markdown.js';

const FOLDER = `${ROOT}.svelte-kit/docs-drizzle/`;
let server: TestServer | undefined;
let realtime: Realtime | undefined;
const open: { close(): void }[] = [];
afterAll(async () => {
	for (const client of open) client.close();
	realtime?.close();
	await server?.close();
	rmSync(FOLDER, { recursive: true, force: true });
});

test('the app of the page runs: two people, offline writes, ownership, scope', async () => {
	for (const { file, text, lang } of readPage('docs/guides/sync-drizzle.md').blocks) {
		if (!file || lang !== 'ts' || !file.startsWith('src/lib/')) continue;
		const path = join(FOLDER, file);
		mkdirSync(dirname(path), { recursive: true });
		const lib = relative(dirname(path), join(FOLDER, 'src/lib')) || '.';
		writeFileSync(path, text.replaceAll("'$lib/", `'./${lib}/`));
	}
	({ realtime } = (await import(/* @vite-ignore */ `${FOLDER}src/lib/server/realtime.ts`)) as {
		realtime: Realtime;
	});
	const { todos } = (await import(/* @vite-ignore */ `${FOLDER}src/lib/tables.ts`)) as {
		todos: ReturnType<typeof defineTable<'todos', never, 'id'>>;
	};
	server = await serve(realtime!, {
		locals: (request) => ({ user: { id: request.headers.get('x-user') } })
	});
	const client = (user: string, way = new Way(user)) => {
		const rejected: string[] = [];
		const sync = new SyncClient({
			name: `drizzle ${user}`,
			endpoint: server!.url,
			fetch: way.fetch,
			memory: storage(),
			tables: { todos: { table: todos } },
			onRejected: ({ error }) => rejected.push(error.message)
		}) as unknown as SyncClient<
			Record<'todos', ReturnType<typeof defineTable<'todos', never, 'id'>>>
		>;
		open.push(sync);
		return { rows: sync.todos as unknown as Rows, sync, rejected, way };
	};
	const [alice, bob] = [client('alice'), client('bob')];
	await alice.rows.add({ id: 'a', title: ' Tea ' });
	await soon(() => alice.rows.get('a')).toMatchObject({ title: 'Tea', ownerId: 'alice' });
	await soon(() => alice.sync.pending).toEqual([]);
	expect(await bob.rows.get('a')).toBeUndefined();
	await alice.rows.update('a', { shared: true });
	await soon(() => bob.rows.get('a')).toMatchObject({ title: 'Tea', shared: true });
	bob.way.down();
	await bob.rows.update('a', { done: true });
	await bob.rows.add({ id: 'b', title: 'Milk', shared: true });
	bob.way.up();
	bob.sync.retry();
	await soon(async () => (await alice.rows.get('a'))?.done).toBe(true);
	await soon(() => alice.rows.get('b')).toMatchObject({ ownerId: 'bob' });
	await alice.rows.delete('b');
	await soon(() => alice.rejected).toEqual(['Only its owner may delete it.']);
	await soon(() => alice.rows.get('b')).toMatchObject({ title: 'Milk' });
	await bob.rows.delete('b');
	await soon(() => alice.rows.get('b')).toBeUndefined();
	await alice.rows.update('a', { shared: false });
	await soon(() => bob.rows.get('a')).toBeUndefined();
	expect(await alice.rows.get('a')).toMatchObject({ done: true });
});

interface Rows {
	add(row: object): Promise<string>;
	get(key: string): Promise<Record<string, unknown> | undefined>;
	update(key: string, changes: object): Promise<number>;
	delete(key: string): Promise<void>;
}
