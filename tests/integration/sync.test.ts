import { afterEach, expect, test } from 'vitest';
import {
	serveTables,
	soon,
	storage,
	todosClient,
	Way,
	type SyncServer
} from '../support/sync/client.js';
import { Store, todosSync, type Todo } from '../support/sync/todos.js';

let server: SyncServer;
const open: { close(): void }[] = [];
afterEach(async () => {
	for (const client of open.splice(0)) client.close();
	await server?.end();
});

function client(way: Way, more: object = {}) {
	const sync = todosClient(server.url, way, more);
	open.push(sync);
	return sync;
}

async function world(options?: { size?: number }) {
	const store = new Store<Todo>();
	server = await serveTables([todosSync(store, options)]);
	return store;
}

const todo = (id: string, more: Partial<Todo> = {}): Todo => ({
	id,
	title: `Title of ${id}`,
	done: false,
	owner: 'all',
	...more
});

test('what is written is here at once, on the server soon, and then with everybody', async () => {
	const store = await world();
	store.set(todo('first'));
	const alice = client(new Way('alice'));
	const bob = client(new Way('bob'));
	await soon(() => bob.todos.toArray()).toEqual([todo('first')]);
	await alice.todos.add({ id: 'a', title: 'Tea' });
	expect(await alice.todos.get('a')).toEqual(todo('a', { title: 'Tea' }));
	expect(alice.pending).toMatchObject([{ table: 'todos', action: 'create', keys: ['a'] }]);
	await soon(() => bob.todos.get('a')).toEqual(todo('a', { title: 'Tea' }));
	expect(store.rows.get('a')).toEqual(todo('a', { title: 'Tea' }));
	await soon(() => alice.pending).toEqual([]);
	await bob.todos.update('a', { done: true });
	await soon(async () => (await alice.todos.get('a'))?.done).toBe(true);
	expect(store.calls).toContainEqual(['update', 'a', { done: true }]);
	await alice.todos.delete('a');
	await soon(() => bob.todos.get('a')).toBeUndefined();
	expect(await alice.todos.toArray()).toEqual([todo('first')]);
});

test('a refused write goes back to the server’s row, says why, and blocks no other row', async () => {
	const store = await world();
	store.set(todo('a'));
	const rejected: unknown[] = [];
	const alice = client(new Way('alice'), {
		onRejected: (rejection: unknown) => rejected.push(rejection)
	});
	await soon(() => alice.todos.count()).toBe(1);
	await alice.todos.update('a', { title: 'no such title' });
	await alice.todos.update('a', { done: true });
	await alice.todos.add(todo('b', { title: 'no b' }));
	await alice.todos.add(todo('c'));
	await soon(() => rejected.length).toBe(2);
	await soon(() => alice.pending).toEqual([]);
	expect(rejected).toEqual([
		expect.objectContaining({
			table: 'todos',
			action: 'update',
			key: 'a',
			status: 403,
			error: expect.objectContaining({ code: 'SYNC_REFUSED', message: 'Not this title.' })
		}),
		expect.objectContaining({ action: 'create', key: 'b' })
	]);
	expect(await alice.todos.toArray()).toEqual([todo('a', { done: true }), todo('c')]);
	expect([...store.rows.values()]).toEqual(await alice.todos.toArray());
});

test('a write whose handler fails waits alone, and is sent until it is accepted', async () => {
	const store = await world();
	const alice = client(new Way('alice'));
	await alice.todos.add(todo('a', { title: 'fail' }));
	await alice.todos.add(todo('b'));
	await soon(() => store.rows.has('b')).toBe(true);
	await soon(() => store.calls.filter(([name]) => name === 'create').length).toBeGreaterThan(2);
	await soon(() => alice.pending.map(({ keys }) => keys)).toEqual([['a']]);
	expect(await alice.todos.get('a')).toEqual(todo('a', { title: 'fail' }));
	expect(server.failures).not.toEqual([]);
});

test('a row that leaves a scope is a delete there, also for who was away, and nobody else sees it', async () => {
	const store = await world();
	store.set(todo('a', { owner: 'red' }));
	store.set(todo('mine', { owner: 'alice' }));
	const ways = { alice: new Way('alice', ['red', 'blue']), bob: new Way('bob', ['red']) };
	const [alice, bob, carol, visitor] = [
		client(ways.alice),
		client(ways.bob),
		client(new Way('carol', ['blue'])),
		client(new Way('dora'))
	];
	await soon(() => alice.todos.count()).toBe(2);
	await soon(() => bob.todos.toArray()).toEqual([todo('a', { owner: 'red' })]);
	await soon(() => [bob, carol, visitor].every(({ status }) => status.online)).toBe(true);
	await alice.todos.update('a', { owner: 'blue' });
	await soon(() => carol.todos.toArray()).toEqual([todo('a', { owner: 'blue' })]);
	await soon(() => bob.todos.count()).toBe(0);
	expect(await alice.todos.get('a')).toEqual(todo('a', { owner: 'blue' }));
	// Away.
	ways.bob.down();
	await alice.todos.update('a', { owner: 'red' });
	await soon(() => carol.todos.count()).toBe(0);
	ways.bob.up();
	bob.retry();
	await soon(() => bob.todos.toArray()).toEqual([todo('a', { owner: 'red' })]);
	expect(await visitor.todos.count()).toBe(0);
	// What one makes for others is not one's own.
	await visitor.todos.add(todo('gift', { owner: 'blue' }));
	await soon(() => carol.todos.toArray()).toEqual([todo('gift', { owner: 'blue' })]);
	await soon(() => visitor.todos.count()).toBe(0);
	await visitor.todos.put(todo('gift', { owner: 'blue' }));
});

test('the channel of a scope is for those who are in it', async () => {
	await world();
	const read = async (channel: string, user?: string): Promise<string> => {
		const response = await fetch(server.url, {
			method: 'POST',
			headers: user ? { 'x-user': user, 'x-teams': 'red' } : {},
			body: JSON.stringify({ channel })
		});
		await response.body?.cancel();
		return String(response.status);
	};
	expect(await read('sync:todos', 'alice')).toBe('200');
	expect(await read('sync:todos:alice', 'alice')).toBe('200');
	expect(await read('sync:todos:red', 'alice')).toBe('200');
	expect(await read('sync:todos:bob', 'alice')).toBe('403');
	expect(await read('sync:todos:alice')).toBe('403');
	expect(await read('sync:todos')).toBe('403');
	expect(await read('sync:other', 'alice')).toBe('400');
});

test('who joins a team gets its older rows, and who leaves it loses them', async () => {
	const store = await world();
	store.set(todo('red', { owner: 'red' }));
	store.set(todo('all'));
	const way = new Way('bob');
	const bob = client(way);
	await soon(() => bob.todos.toArray()).toEqual([todo('all')]);
	way.teams = ['red'];
	bob.retry();
	await soon(() => bob.todos.toArray()).toEqual([todo('all'), todo('red', { owner: 'red' })]);
	// The channel of the team is listened to as well.
	const alice = client(new Way('alice', ['red']));
	await soon(() => alice.todos.count()).toBe(2);
	await alice.todos.update('red', { done: true });
	await soon(async () => (await bob.todos.get('red'))?.done).toBe(true);
	way.teams = [];
	bob.retry();
	await soon(() => bob.todos.toArray()).toEqual([todo('all')]);
});

test('offline writes survive: a reload, a client that was dropped, and a closed tab', async () => {
	const store = await world();
	store.set(todo('a'));
	const memory = storage();
	const way = new Way('alice');
	const first = client(way, { name: 'alice', memory });
	await soon(() => first.todos.count()).toBe(1);
	way.down();
	await first.todos.update('a', { title: 'Offline' });
	await first.todos.add(todo('b'));
	await soon(() => first.status.online).toBe(false);
	// Dropped: nothing is closed, and its way stays cut.
	const second = client(new Way('alice'), { name: 'alice', memory });
	await soon(() => store.rows.get('a')?.title).toBe('Offline');
	await soon(() => store.rows.has('b')).toBe(true);
	await soon(() => second.pending).toEqual([]);
	expect(await second.todos.toArray()).toEqual([todo('a', { title: 'Offline' }), todo('b')]);
	expect(store.calls.filter(([name]) => name === 'create')).toHaveLength(1);
});

test('after an absence only what changed is fetched', async () => {
	const store = await world();
	for (let n = 0; n < 250; n++) store.set(todo(`t${n}`));
	const memory = storage();
	const first = client(new Way('alice'), { name: 'alice', memory });
	await soon(() => first.status.tables.todos.lastSyncAt).not.toBeNull();
	expect(await first.todos.count()).toBe(250);
	first.close();
	store.set(todo('t3', { title: 'Changed' }));
	store.delete('t4');
	store.calls.length = 0;
	const second = client(new Way('alice'), { name: 'alice', memory });
	await soon(async () => (await second.todos.get('t3'))?.title).toBe('Changed');
	expect(await second.todos.get('t4')).toBeUndefined();
	expect(store.calls[0]).toEqual(['fetch', '0:250']);
	expect(store.calls).not.toContainEqual(['fetch', null]);
	second.close();
	// The server does not know the cursor any more.
	store.epoch++;
	for (const id of [...store.rows.keys()].slice(5)) {
		store.rows.delete(id);
		store.changed.delete(id);
	}
	const third = client(new Way('alice'), { name: 'alice', memory });
	await soon(() => third.todos.count()).toBe(store.rows.size);
	expect(await third.todos.toArray()).toEqual([...store.rows.values()]);
});

test('a fetch that does not come further stops with a name, and goes on with retry()', async () => {
	const store = await world();
	store.set(todo('a'));
	const errors: { code: string }[] = [];
	let isBroken = true;
	const { fetch } = store;
	store.fetch = function (cursor, size, maySee) {
		const page = fetch.call(store, isBroken ? null : cursor, size, maySee);
		return isBroken ? { ...page, cursor: '0:0' } : page;
	} as typeof fetch;
	const alice = client(new Way('alice'), {
		onError: (error: { code: string }) => errors.push(error)
	});
	await soon(() => alice.status.tables.todos.error?.code).toBe('SYNC_STALLED');
	expect(errors.map(({ code }) => code)).toEqual(['SYNC_STALLED']);
	const { length } = store.calls;
	expect(length).toBeLessThan(5);
	isBroken = false;
	alice.retry();
	await soon(() => alice.status.tables.todos.error).toBeNull();
	expect(await alice.todos.toArray()).toEqual([todo('a')]);
});

test('bulk forms are one event; rows of it are refused one by one', async () => {
	const store = await world();
	const rejected: { key: unknown }[] = [];
	const alice = client(new Way('alice'), {
		onRejected: (one: { key: unknown }) => rejected.push(one)
	});
	const bob = client(new Way('bob'));
	await soon(() => alice.status.online && bob.status.online).toBe(true);
	await alice.todos.bulkAdd([todo('a'), todo('b', { title: 'no' }), todo('c')]);
	expect(alice.pending).toHaveLength(1);
	await soon(() => rejected.map(({ key }) => key)).toEqual(['b']);
	await soon(() => bob.todos.toArray()).toEqual([todo('a'), todo('c')]);
	await alice.todos.bulkUpdate([
		{ key: 'a', changes: { done: true } },
		{ key: 'c', changes: { title: 'C' } }
	]);
	await alice.todos.bulkPut([todo('c', { title: 'CC' }), todo('d')]);
	await soon(() => bob.todos.toArray()).toEqual([
		todo('a', { done: true }),
		todo('c', { title: 'CC' }),
		todo('d')
	]);
	await alice.todos.bulkDelete(['a', 'd', 'unknown']);
	await soon(() => bob.todos.count()).toBe(1);
	expect([...store.rows.keys()]).toEqual(['c']);
});
