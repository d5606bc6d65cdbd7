import { afterEach, expect, test, vi } from 'vitest';
import type { SyncClient } from '../../src/lib/sync/index.js';
import {
	isCurrent,
	serveTables,
	soon,
	storage,
	Way,
	type SyncServer
} from '../support/sync/client.js';
import { FakeLocks, openTab } from '../support/sync/tabs.js';
import { Store, todo, todos, todosSync, type Todo } from '../support/sync/todos.js';

let server: SyncServer;
const open: { close(): void }[] = [];
afterEach(async () => {
	for (const client of open.splice(0)) client.close();
	vi.unstubAllGlobals();
	await server.end();
});

const NEVER = new Promise<never>(() => {});

interface Tab {
	sync: SyncClient<{ todos: typeof todos }>;
	/** Events that it sent. */
	sent: string[];
	way: Way;
	/** It says and hears nothing any more. */
	die(): void;
}

type Handlers = Record<'authorize' | 'fetch' | 'create', (...args: never[]) => unknown>;

/** A server, and a browser whose tabs share a copy. */
async function world() {
	const store = new Store<Todo>();
	const tables = todosSync(store);
	server = await serveTables([tables]);
	const locks = new FakeLocks();
	const shared = { memory: storage(), name: `tabs ${Math.random()}`, endpoint: server.url };
	const openNext = async (): Promise<Tab> => {
		const tab = await openTab(locks);
		const way = new Way('alice');
		const sent: string[] = [];
		let isDead = false;
		const fetch: typeof globalThis.fetch = async (input, init) => {
			if (isDead) return NEVER;
			sent.push((JSON.parse(String(init?.body)) as { event?: string }).event ?? '');
			const answer = await way.fetch(input, init);
			return isDead ? NEVER : answer;
		};
		const tables = { todos: { table: todos } };
		const sync = new tab.sync.SyncClient({ ...shared, fetch, tables });
		open.push(sync);
		await soon(() => tab.isReady()).toBe(true);
		const die = (): void => {
			isDead = true;
			way.cut();
			tab.die();
		};
		return { sync, sent, way, die };
	};
	const first = await openNext();
	await soon(() => isCurrent(first.sync)).toBe(true);
	return { store, options: tables.options as unknown as Handlers, first, openNext };
}

test('the tab that sends dies in the middle: another takes over, no write is lost or done twice', async () => {
	const { store, options, first, openNext } = await world();
	const second = await openNext();
	let isHeld = true;
	const held: (() => void)[] = [];
	const { create } = options;
	options.create = async (...args: never[]) => {
		const row = create(...args);
		// It has been written, and is not answered.
		if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
		return row;
	};
	expect(first.sync.status.leads).toBe(true);
	expect(second.sync.status.leads).toBe(false);
	for (let n = 0; n < 20; n++) await (n % 2 ? first : second).sync.todos.add(todo(`t${n}`));
	await second.sync.todos.update('t0', { title: 'Milk' });
	// As many as are sent at the same time.
	await soon(() => held.length).toBe(10);
	expect(second.sent).toEqual([]);
	first.die();
	await soon(() => second.sync.status.leads).toBe(true);
	isHeld = false;
	for (const release of held) release();
	await soon(() => store.rows.get('t0')?.title).toBe('Milk');
	await soon(() => second.sync.pending).toEqual([]);
	const created = store.calls.filter(([name]) => name === 'create').map(([, row]) => row as Todo);
	expect(created.map(({ id }) => id).sort()).toEqual([...store.rows.keys()].sort());
	expect(created).toHaveLength(20);
	await soon(() => second.sync.todos.count()).toBe(20);
	expect((await second.sync.todos.get('t0'))?.title).toBe('Milk');
});

test('all tabs show the same: whether the server is there, what is fetched, and what is wrong', async () => {
	const { options, first, openNext } = await world();
	const second = await openNext();
	await soon(() => isCurrent(second.sync)).toBe(true);
	first.way.down();
	for (const { sync } of [first, second]) await soon(() => sync.status.online).toBe(false);
	// Also one that is opened now.
	const third = await openNext();
	await soon(() => third.sync.status.online).toBe(false);
	expect(third.sync.status.leads).toBe(false);
	first.way.up();
	options.authorize = () => false;
	// One that does not sync asks the one that does.
	second.sync.retry();
	for (const { sync } of [first, second, third]) {
		await soon(() => sync.status.tables.todos.error?.code).toBe('SYNC_DENIED');
	}
	options.authorize = () => true;
	let release = (): void => {};
	const released = new Promise<void>((resolve) => (release = resolve));
	const { fetch } = options;
	options.fetch = async (...args: never[]) => {
		await released;
		return fetch(...args);
	};
	second.sync.retry();
	for (const { sync } of [first, second, third]) {
		await soon(() => sync.status.tables.todos.isFetching).toBe(true);
	}
	release();
	for (const tab of [first, second, third]) {
		await soon(() => isCurrent(tab.sync)).toBe(true);
		expect(tab.sync.status.tables.todos.error).toBeNull();
	}
	expect(second.sent).toEqual([]);
});
