import { afterEach, expect, test } from 'vitest';
import { createPublisher } from '../../src/lib/sync/server/index.js';
import {
	isCurrent,
	serveTables,
	soon,
	storage,
	todosClient,
	Way,
	type SyncServer
} from '../support/sync/client.js';
import { Store, todo, todosSync, type Todo } from '../support/sync/todos.js';

// Answers, messages and pages that overtake each other. In the end, the copy has what the server has.

let server: SyncServer | undefined;
const open: { close(): void }[] = [];
afterEach(async () => {
	for (const client of open.splice(0)) client.close();
	await server?.end();
	server = undefined;
});

/** Holds up what passes while it is closed. */
class Gate {
	#opened: Promise<void> = Promise.resolve();
	#open = (): void => {};
	/** How many wait. */
	waiting = 0;

	close(): void {
		this.#opened = new Promise((resolve) => (this.#open = resolve));
	}

	open(): void {
		this.#open();
		this.#opened = Promise.resolve();
	}

	async pass(): Promise<void> {
		this.waiting++;
		await this.#opened;
		this.waiting--;
	}
}

type Handler = (...args: unknown[]) => unknown;

/** A server whose reads can be held up before they read, and whose writes after they have written. */
async function world() {
	const store = new Store<Todo>();
	const sync = todosSync(store);
	const options = sync.options as unknown as Record<'authorize' | 'fetch' | 'update', Handler>;
	const { fetch, update } = options;
	const reads = new Gate();
	const writes = new Gate();
	options.fetch = async (...args) => {
		await reads.pass();
		return fetch(...args);
	};
	options.update = async (...args) => {
		const row = update(...args);
		await writes.pass();
		return row;
	};
	server = await serveTables([sync]);
	return { store, options, reads, writes, publisher: createPublisher(server.realtime, [sync]) };
}

/** A way to the server on which requests for some events can be held up. */
class GatedWay extends Way {
	readonly gates = { fetch: new Gate(), update: new Gate() };
	override readonly fetch: typeof globalThis.fetch;

	constructor(user: string) {
		super(user);
		const { fetch } = new Way(user);
		this.fetch = async (input, init) => {
			const { event } = JSON.parse(String(init?.body)) as { event?: string };
			const name = event?.split('/')[2] as 'fetch' | 'update' | undefined;
			if (name) await this.gates[name]?.pass();
			return fetch(input, init);
		};
	}
}

function client(more: object = {}, way = new Way('alice')) {
	const sync = todosClient(server!.url, way, more);
	open.push(sync);
	return sync;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test('a page that was read after a write, and began before it', async () => {
	const { store, reads } = await world();
	store.set(todo('a'));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	reads.close();
	alice.retry();
	await soon(() => reads.waiting).toBe(1);
	await alice.todos.update('a', { title: 'mine' });
	await soon(() => alice.pending).toEqual([]);
	// Written elsewhere, and nobody is told.
	store.set(todo('a', { title: 'theirs' }));
	reads.open();
	await soon(() => alice.todos.get('a')).toEqual(todo('a', { title: 'theirs' }));
});

test('an answer that comes after a page which has a later write', async () => {
	const { store, writes } = await world();
	store.set(todo('a'));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	const { liveQuery } = await import('dexie');
	const seen: (string | undefined)[] = [];
	const watch = liveQuery(() => alice.todos.get('a')).subscribe((row) => seen.push(row?.title));
	await soon(() => seen).toEqual(['Tea']);
	writes.close();
	await alice.todos.update('a', { title: 'mine' });
	await soon(() => writes.waiting).toBe(1);
	store.set(todo('a', { title: 'theirs', done: true }));
	alice.retry();
	// What is written here stays on top until it is answered.
	await soon(() => alice.todos.get('a')).toEqual(todo('a', { title: 'mine', done: true }));
	await soon(() => isCurrent(alice)).toBe(true);
	writes.open();
	await soon(() => alice.pending).toEqual([]);
	expect(await alice.todos.get('a')).toEqual(todo('a', { title: 'theirs', done: true }));
	watch.unsubscribe();
	expect([...new Set(seen)].join()).toBe('Tea,mine,theirs');
});

test('the answer to a write is known from before, and a later session gets it first', async () => {
	const { store } = await world();
	store.set(todo('a'));
	const memory = storage();
	const way = new GatedWay('alice');
	const first = client({ memory, name: 'alice' }, way);
	await soon(() => isCurrent(first)).toBe(true);
	// It runs, and its answer is lost.
	let isLost = false;
	const { fetch } = way;
	const lossy: typeof fetch = async (input, init) => {
		const answer = await fetch(input, init);
		if (!isLost && String(init?.body).includes('/update')) {
			isLost = true;
			way.gates.update.close();
			throw new TypeError('The line was cut');
		}
		return answer;
	};
	first.close();
	const second = client({ memory, name: 'alice', fetch: lossy }, way);
	await second.todos.update('a', { title: 'mine' });
	await soon(() => isLost).toBe(true);
	store.set(todo('a', { title: 'theirs', done: true }));
	second.retry();
	await soon(() => second.todos.get('a')).toEqual(todo('a', { title: 'mine', done: true }));
	await soon(() => isCurrent(second)).toBe(true);
	second.close();
	way.gates.update.open();
	way.gates.fetch.close();
	const third = client({ memory, name: 'alice' }, way);
	await soon(() => way.gates.fetch.waiting).toBeGreaterThan(0);
	await soon(() => store.calls.filter(([name]) => name === 'update')).toHaveLength(1);
	await sleep(100);
	way.gates.fetch.open();
	await soon(() => third.pending).toEqual([]);
	await soon(() => isCurrent(third)).toBe(true);
	expect(await third.todos.get('a')).toEqual(todo('a', { title: 'theirs', done: true }));
});

test('a message of a change that a page has already, with a later one', async () => {
	const { store, reads, publisher } = await world();
	store.set(todo('a'));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	reads.close();
	alice.retry();
	await soon(() => reads.waiting).toBe(1);
	await publisher.publish('todos', 'update', 'a', { title: 'first', owner: 'all' });
	await publisher.publish('todos', 'create', 'b', todo('b'));
	store.set(todo('b'));
	store.set(todo('a', { title: 'second' }));
	// The message is here before the page.
	await sleep(100);
	reads.open();
	await soon(() => isCurrent(alice)).toBe(true);
	await soon(() => alice.todos.toArray()).toEqual([todo('a', { title: 'second' }), todo('b')]);
	await sleep(50);
	expect(await alice.todos.get('a')).toEqual(todo('a', { title: 'second' }));
});

test('what is published while a write of the same row is under way', async () => {
	const { store, writes, publisher } = await world();
	store.set(todo('a'));
	const alice = client();
	const bob = client({}, new Way('bob'));
	await soon(() => isCurrent(alice) && isCurrent(bob)).toBe(true);
	writes.close();
	await alice.todos.update('a', { title: 'mine' });
	await soon(() => writes.waiting).toBe(1);
	store.set({ ...store.rows.get('a')!, done: true });
	await publisher.publish('todos', 'update', 'a', { done: true, owner: 'all' });
	writes.open();
	await soon(() => alice.pending).toEqual([]);
	for (const one of [alice, bob]) {
		await soon(() => one.todos.get('a')).toEqual(todo('a', { title: 'mine', done: true }));
	}
});

test('a handler may publish what it writes, and waits for nobody', async () => {
	const { store, options, publisher } = await world();
	const { update } = options;
	options.update = async (...args) => {
		const row = (await update(...args)) as Todo;
		await publisher.publish('todos', 'update', row.id, { title: row.title, owner: row.owner });
		return row;
	};
	store.set(todo('a'));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	await alice.todos.update('a', { title: 'mine' });
	await soon(() => alice.pending).toEqual([]);
	expect(await alice.todos.get('a')).toEqual(todo('a', { title: 'mine' }));
});

test('a reset in the middle of a fetch: what earlier pages brought goes as well', async () => {
	const { options } = await world();
	let pages: object[] = [{ rows: [todo('x')], cursor: 1 }];
	options.fetch = () => pages.shift() ?? { rows: [], cursor: 9 };
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	pages = [
		{ rows: [todo('a')], cursor: 10 },
		{ rows: [todo('b')], cursor: 11 },
		{ rows: [todo('c')], cursor: 20, reset: true },
		{ rows: [todo('d')], cursor: 21 },
		{ rows: [], cursor: 21 }
	];
	alice.retry();
	await soon(() => alice.todos.get('d')).toBeDefined();
	await soon(() => isCurrent(alice)).toBe(true);
	expect(await alice.todos.toArray()).toEqual([todo('c'), todo('d')]);
});

test('a row that is deleted and then changed in one batch stays deleted', async () => {
	const { store, publisher } = await world();
	store.set(todo('a'));
	const alice = client();
	await soon(() => alice.todos.count()).toBe(1);
	await soon(() => isCurrent(alice)).toBe(true);
	store.delete('a');
	await publisher.batch([
		['todos', 'delete', 'a', { owner: 'all' }],
		['todos', 'update', 'a', { title: 'late', owner: 'all' }],
		['todos', 'create', 'b', todo('b')]
	]);
	await soon(() => alice.todos.get('b')).toBeDefined();
	expect(await alice.todos.get('a')).toBeUndefined();
});

test('a refused write: the row is the server’s, also where nobody was told of its change', async () => {
	const { store } = await world();
	store.set(todo('a'));
	const alice = client();
	await soon(() => isCurrent(alice)).toBe(true);
	store.set(todo('a', { title: 'theirs' }));
	await alice.todos.update('a', { title: 'no' });
	await soon(() => alice.pending).toEqual([]);
	await soon(() => alice.todos.get('a')).toEqual(todo('a', { title: 'theirs' }));
});

test('a row that is deleted here, and gone there, does not come back after a reset that was cut off', async () => {
	const { store, options } = await world();
	store.set(todo('a'));
	const way = new GatedWay('alice');
	const alice = client({}, way);
	const events: string[] = [];
	options.authorize = (_, action) => (events.push(String(action)), action !== 'delete');
	await soon(() => alice.todos.count()).toBe(1);
	await soon(() => isCurrent(alice)).toBe(true);
	const remove = new Gate();
	Object.assign(way.gates, { delete: remove });
	remove.close();
	await alice.todos.delete('a');
	let pages: (object | Error)[] = [
		{ rows: [todo('b')], cursor: 'new', reset: true },
		new Error('away')
	];
	options.fetch = () => {
		const page = pages.shift() ?? { rows: [], cursor: 'new' };
		if (page instanceof Error) throw page;
		return page;
	};
	alice.retry();
	await soon(() => alice.status.tables.todos.error?.code).toBe('SYNC_OFFLINE');
	// The database that it asks now knows the new cursor, or resets an old one.
	options.fetch = ((_: unknown, { cursor }: { cursor: unknown }) =>
		cursor === 'new'
			? { rows: [], cursor: 'new' }
			: { rows: [todo('b')], cursor: 'new', reset: true }) as Handler;
	pages = [];
	alice.retry();
	await soon(() => isCurrent(alice)).toBe(true);
	remove.open();
	await soon(() => alice.pending).toEqual([]);
	expect(events).toContain('delete');
	expect(await alice.todos.toArray()).toEqual([todo('b')]);
});
