import { afterEach, expect, test } from 'vitest';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { createPublisher, syncTables } from '../../src/lib/sync/server/index.js';
import { SyncClient } from '../../src/lib/sync/index.js';
import { serve, type TestServer } from '../support/server.js';
import { soon, storage, Way } from '../support/sync/client.js';
import { personOf, Store, todos, todosSync, type Todo } from '../support/sync/todos.js';
import { clientAt } from '../support/upstream.js';

const STAMP = '0mxyz0000-0000-page';
const SECRET = 'the secret of alice';

let realtime: Realtime;
let server: TestServer;
const ends: (() => void)[] = [];
afterEach(async () => {
	for (const end of ends.splice(0)) end();
	realtime.close();
	await server.close();
});

const teams: Record<string, string[]> = {};

async function world() {
	const store = new Store<Todo>();
	const sync = todosSync(store);
	const options = sync.options as unknown as Record<string, (...args: unknown[]) => unknown>;
	// An app that hides the rows of others, and refuses writes of them.
	for (const action of ['create', 'update', 'delete'] as const) {
		const handler = options[action]!;
		options[action] = (context, given, changes) => {
			const { identity, previous } = context as {
				identity: { id: string };
				previous(row: Todo | null): void;
			};
			const row = store.rows.get(typeof given === 'string' ? given : (given as Todo).id);
			if (row && row.owner !== identity.id && row.owner !== 'all') {
				throw { status: 403, body: { message: 'This is not yours.' } };
			}
			previous(row ?? null);
			return handler(context, given, changes);
		};
	}
	realtime = createRealtime({
		inngest: clientAt('http://127.0.0.1:9'),
		identify: ({ event }) => {
			const person = personOf(event.request);
			return person && { ...person, teams: teams[person.id] ?? person.teams };
		},
		onFailure() {},
		...syncTables([sync])
	});
	server = await serve(realtime);
	return { store, publisher: createPublisher(realtime, [sync]) };
}

const row = (id: string, more: Partial<Todo> = {}): Todo => ({
	id,
	title: 'Tea',
	done: false,
	owner: 'all',
	...more
});

const post = (user: string, body: unknown): Promise<Response> =>
	new Way(user).fetch(server.url, { method: 'POST', body: JSON.stringify(body) });

/** Reads all that a stream sends. */
async function wire(user: string, body: unknown): Promise<{ text(): string }> {
	const response = await post(user, body);
	let text = '';
	void (async () => {
		const decoder = new TextDecoder();
		for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
			text += decoder.decode(chunk, { stream: true });
		}
	})().catch(() => {});
	await soon(() => text).toContain('connected');
	return { text: () => text };
}

function client(user: string, more: object = {}) {
	const sync = new SyncClient({
		name: user,
		endpoint: server.url,
		fetch: new Way(user).fetch,
		memory: storage(),
		tables: { todos: { table: todos } },
		...more
	});
	ends.push(() => sync.close());
	return sync;
}

let ids = 0;
const write = async (user: string, action: string, write: object, stamp = STAMP) => {
	const data = { stamp, rows: [write] };
	const response = await post(user, {
		event: `sync/todos/${action}`,
		id: `w${++ids}`,
		v: 1,
		data
	});
	return { status: response.status, text: await response.text() };
};

test('nothing of another’s rows reaches a reader: live, resumed, of the history, fetched, or in an answer', async () => {
	const { store, publisher } = await world();
	const mallory = await wire('mallory', { channel: 'sync:todos' });
	const own = await wire('mallory', { channel: 'sync:todos:mallory' });
	const secret = row('a-private', { title: SECRET, owner: 'alice' });
	expect((await write('alice', 'create', { key: secret.id, row: secret })).text).toContain(SECRET);
	const renamed = { ...secret, title: `${SECRET} 2` };
	await write('alice', 'update', { key: secret.id, row: renamed, fields: ['title'] });
	await publisher.publish('todos', 'create', 'p-private', { ...secret, id: 'p-private' });
	await publisher.publish('todos', 'update', 'p-private', { title: SECRET, owner: 'alice' });
	// What everybody had, and has no more.
	store.set(row('shared'));
	await write('alice', 'update', {
		key: 'shared',
		row: row('shared', { title: SECRET, owner: 'alice' }),
		fields: ['title', 'owner']
	});
	await soon(() => mallory.text()).toContain('"gone":"shared"');
	const answers = [
		await write('mallory', 'update', { key: secret.id, row: secret, fields: ['title'] }),
		await write('mallory', 'create', { key: secret.id, row: row(secret.id) }),
		await write('mallory', 'delete', { key: secret.id }),
		await write('mallory', 'update', { key: secret.id, row: { id: secret.id }, fields: [] }),
		await write('mallory', 'update', { key: 'x', row: row(secret.id), fields: ['id'] }),
		await write('mallory', 'create', { key: secret.id, row: row(secret.id) }, 'no stamp'),
		await write('mallory', 'create', { key: 'x', row: row('x') }, 'zzzzzzzzz-zzzz-page')
	].map(({ text }) => text);
	const requests = [
		{ event: 'sync/todos/fetch', id: 'f', v: 1, data: { cursor: null, limit: 100 } },
		{ event: 'sync/todos/fetch', id: 'g', v: 7, data: { cursor: null, limit: 100 } },
		{ read: { channel: 'sync:todos', limit: 100 } },
		{ read: { channel: 'sync:todos:alice', limit: 100 } },
		{ read: { channel: 'sync:todos:', limit: 100 } },
		{ read: { channel: 'sync:todos:mallory:alice', limit: 100 } },
		{ presence: { stream: 'x', sync: true } }
	];
	for (const request of requests) answers.push(await (await post('mallory', request)).text());
	const history = await wire('mallory', { channel: 'sync:todos', history: 100 });
	const since = await wire('mallory', { channel: 'sync:todos', since: '2020-01-01' });
	for (const channel of [
		'sync:todos:alice',
		'sync:todos:ALICE',
		'sync:todos: alice',
		'sync:todos:'
	]) {
		expect((await post('mallory', { channel })).status, channel).toBeGreaterThanOrEqual(400);
		const many = await post('mallory', { subscriptions: [{ channel }, { channel: 'sync:todos' }] });
		const reader = many.body!.getReader();
		let text = '';
		while (!text.includes('connected'))
			text += new TextDecoder().decode((await reader.read()).value);
		await reader.cancel();
		answers.push(text);
	}
	for (const text of [...answers, mallory.text(), own.text(), history.text(), since.text()]) {
		expect(text).not.toContain(SECRET);
		// Its key was in no message: those who write say who had the row before.
		expect(text).not.toContain('"gone":"a-private"');
	}
	expect(store.rows.get(secret.id)).toEqual(renamed);
});

test('answers of `scope` that are none send nothing to anybody', async () => {
	const { store } = await world();
	await write('alice', 'create', { key: 'a', row: row('a', { owner: 'alice' }) });
	realtime.close();
	await server.close();
	for (const scope of [undefined, null, true, 7, '', [''], [null], [['alice']], { length: 1 }]) {
		const sync = todosSync(store);
		Object.assign(sync.options, {
			scope: () => scope,
			fetch: () => ({ rows: [...store.rows.values()], cursor: 1 })
		});
		realtime = createRealtime({
			inngest: clientAt('http://127.0.0.1:9'),
			identify: ({ event }) => personOf(event.request),
			onFailure() {},
			...syncTables([sync])
		});
		server = await serve(realtime);
		const heard = await wire('mallory', { channel: 'sync:todos' });
		const { status } = await write('alice', 'create', {
			key: 'b',
			row: row('b', { title: SECRET, owner: 'alice' })
		});
		expect(status, JSON.stringify(scope)).toBe(500);
		const fetched = await post('mallory', {
			event: 'sync/todos/fetch',
			id: `s${++ids}`,
			v: 1,
			data: { cursor: null, limit: 10 }
		});
		expect(fetched.status).toBe(500);
		expect((await fetched.text()) + heard.text()).not.toContain(SECRET);
		realtime.close();
		await server.close();
	}
	await world();
});

test('who leaves a team while its stream is open loses it with `recheck`, and the rows as well', async () => {
	const { store, publisher } = await world();
	teams.bob = ['red'];
	store.set(row('r', { owner: 'red' }));
	const bob = client('bob');
	await soon(() => bob.todos.count()).toBe(1);
	await soon(() => bob.status.online).toBe(true);
	const heard = await wire('bob', { channel: 'sync:todos:red' });
	teams.bob = [];
	await realtime.recheck('bob');
	await soon(() => bob.todos.count()).toBe(0);
	await soon(() => heard.text()).toContain('degraded');
	await publisher.publish('todos', 'create', 's', row('s', { title: SECRET, owner: 'red' }));
	await publisher.publish('todos', 'create', 't', row('t'));
	await soon(() => bob.todos.get('t')).toBeDefined();
	expect(heard.text()).not.toContain(SECRET);
	expect(await bob.todos.count()).toBe(1);
	await soon(() => bob.status.online).toBe(true);
	delete teams.bob;
});
