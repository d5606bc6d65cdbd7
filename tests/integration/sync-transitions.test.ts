import { afterEach, expect, test } from 'vitest';
import {
	createPublisher,
	type SyncPublisher,
	type TableSync
} from '../../src/lib/sync/server/index.js';
import { SyncClient } from '../../src/lib/sync/index.js';
import { serveTables, soon, storage, Way, type SyncServer } from '../support/sync/client.js';
import { Store, todo, todos, todosSync, type Todo } from '../support/sync/todos.js';

// The transitions of `docs/guides/sync.md` that do something, one by one: what a table does in a state when something happens.

let server: SyncServer;
const open: { close(): void }[] = [];
afterEach(async () => {
	for (const client of open.splice(0)) client.close();
	await server.end();
});

const NOTHING = { rows: [], cursor: 'end' };
type Page = { rows: Todo[]; cursor: string; reset?: boolean } | Error;

/** A server whose fetches wait until the test answers them. */
class World {
	readonly way = new Way('alice');
	readonly errors: string[] = [];
	readonly #waiting: ((page: Page) => void)[] = [];
	publisher!: SyncPublisher<TableSync>;
	sync!: SyncClient<{ todos: typeof todos }>;
	/** How many fetches were asked for. */
	asked = 0;
	mayRead = true;

	static async create(): Promise<World> {
		const world = new World();
		const sync = todosSync(new Store<Todo>());
		Object.assign(sync.options, {
			authorize: () => world.mayRead,
			fetch: async () => {
				world.asked++;
				const page = await new Promise<Page>((resolve) => world.#waiting.push(resolve));
				if (page instanceof Error) throw page;
				return page;
			}
		});
		server = await serveTables([sync]);
		world.publisher = createPublisher(server.realtime, [sync]) as never;
		world.sync = new SyncClient({
			name: `transitions ${Math.random()}`,
			endpoint: server.url,
			fetch: world.way.fetch,
			memory: storage(),
			onError: ({ code }) => world.errors.push(code),
			tables: { todos: { table: todos } }
		});
		open.push(world.sync);
		return world;
	}

	/** Answers the oldest fetch that waits. */
	async answer(page: Page = NOTHING): Promise<void> {
		await soon(() => this.#waiting.length).toBeGreaterThan(0);
		this.#waiting.shift()!(page);
	}

	get code(): string | undefined {
		return this.sync.status.tables.todos.error?.code;
	}

	get isFetching(): boolean {
		return this.sync.status.tables.todos.isFetching;
	}

	/** Answers until everything is here. */
	async settle(): Promise<void> {
		while (this.sync.status.tables.todos.lastSyncAt === null || this.isFetching) {
			const next = this.#waiting.shift();
			next?.(NOTHING);
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
		await soon(() => this.sync.status.online).toBe(true);
		// The channel's first connection is a gap.
		for (let quiet = 0; quiet < 10; quiet++) {
			await new Promise((resolve) => setTimeout(resolve, 5));
			const next = this.#waiting.shift();
			if (next) quiet = 0;
			next?.(NOTHING);
		}
	}

	/** Tells of a change without saying which. */
	gap(): Promise<void> {
		return this.publisher.publish('todos', 'update', 'x', {} as never);
	}
}

test('off: start → fetching; page → next; end → current; gap, retry → fetching', async () => {
	const world = await World.create();
	await soon(() => world.asked).toBe(1);
	expect(world.isFetching).toBe(true);
	await world.answer({ rows: [todo('a')], cursor: '1' });
	await soon(() => world.asked).toBeGreaterThan(1);
	expect(await world.sync.todos.count()).toBe(1);
	await world.settle();
	expect(world.isFetching).toBe(false);
	const { asked } = world;
	await world.gap();
	await soon(() => world.asked).toBe(asked + 1);
	await world.answer();
	await soon(() => world.isFetching).toBe(false);
	world.sync.retry();
	await soon(() => world.asked).toBe(asked + 2);
});

test('fetching: gap, retry → again; again: gap stays, page → next, end → one more fetch', async () => {
	const world = await World.create();
	await world.settle();
	const { asked } = world;
	world.sync.retry();
	await soon(() => world.asked).toBe(asked + 1);
	await world.gap();
	world.sync.retry();
	await world.gap();
	await new Promise((resolve) => setTimeout(resolve, 50));
	// They wait for the end of this one.
	expect(world.asked).toBe(asked + 1);
	await world.answer({ rows: [todo('a')], cursor: '1' });
	await soon(() => world.asked).toBe(asked + 2);
	await world.answer();
	await soon(() => world.asked).toBe(asked + 3);
	await world.settle();
});

test('fetching, again: fail → waiting; waiting: gap stays, timer → fetching', async () => {
	const world = await World.create();
	await world.settle();
	for (const isAgain of [false, true]) {
		const { asked } = world;
		world.sync.retry();
		await soon(() => world.asked).toBe(asked + 1);
		if (isAgain) world.sync.retry();
		await world.answer(new Error('away'));
		await soon(() => world.code).toBe('SYNC_OFFLINE');
		await world.gap();
		// By itself, after its time.
		await soon(() => world.asked).toBe(asked + 2);
		await world.settle();
		expect(world.code).toBeUndefined();
	}
	expect(world.errors).toEqual([]);
});

test('fetching: refuse, stall → stopped; stopped: gap stays, retry → fetching', async () => {
	const world = await World.create();
	await world.settle();
	world.mayRead = false;
	world.sync.retry();
	await soon(() => world.code).toBe('SYNC_DENIED');
	world.mayRead = true;
	const { asked } = world;
	await world.gap();
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(world.asked).toBe(asked);
	world.sync.retry();
	for (let n = 0; n < 2; n++) await world.answer({ rows: [todo('a')], cursor: 'end' });
	await soon(() => world.code).toBe('SYNC_STALLED');
	const before = world.asked;
	await world.gap();
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(world.asked).toBe(before);
	world.sync.retry();
	await world.settle();
	expect(world.code).toBeUndefined();
	expect(world.errors).toEqual(['SYNC_DENIED', 'SYNC_STALLED']);
});

test('again: refuse, stall → one more fetch, so that no retry() and no gap is lost', async () => {
	const world = await World.create();
	await world.settle();
	const again: ((world: World) => unknown)[] = [
		(world) => world.sync.retry(),
		(world) => world.gap()
	];
	for (const happens of again) {
		// It may be read again by then.
		const { asked } = world;
		let denied: () => void = () => {};
		const isDenied = new Promise<boolean>((resolve) => (denied = () => resolve(false)));
		world.mayRead = isDenied as never;
		world.sync.retry();
		await soon(() => world.isFetching).toBe(true);
		await happens(world);
		await new Promise((resolve) => setTimeout(resolve, 50));
		world.mayRead = true;
		denied();
		await soon(() => world.asked).toBe(asked + 1);
		await world.answer();
		await soon(() => world.isFetching).toBe(false);
		// And it may come further.
		world.sync.retry();
		await soon(() => world.asked).toBe(asked + 2);
		await happens(world);
		await new Promise((resolve) => setTimeout(resolve, 50));
		await world.answer({ rows: [todo('a')], cursor: 'end' });
		await soon(() => world.asked).toBe(asked + 3);
		await world.answer();
		await soon(() => world.isFetching).toBe(false);
	}
	expect(world.errors).toEqual([]);
	// Where it comes no further then, it stops.
	world.sync.retry();
	await soon(() => world.isFetching).toBe(true);
	world.sync.retry();
	for (let n = 0; n < 2; n++) await world.answer({ rows: [todo('a')], cursor: 'end' });
	await soon(() => world.code).toBe('SYNC_STALLED');
	expect(world.errors).toEqual(['SYNC_STALLED']);
});

test('resets: the first ones begin anew, more in a row → waiting; timer → fetching', async () => {
	const world = await World.create();
	await world.settle();
	const reset = { rows: [todo('a')], cursor: 'r', reset: true };
	const { asked } = world;
	world.sync.retry();
	// The database is restored twice while it is read.
	await world.answer(reset);
	await world.answer(reset);
	await world.answer({ rows: [todo('b')], cursor: '1' });
	await world.answer({ rows: [], cursor: '1' });
	await soon(() => world.isFetching).toBe(false);
	expect(world.code).toBeUndefined();
	expect((await world.sync.todos.toArray()).map(({ id }) => id)).toEqual(['a', 'b']);
	world.sync.retry();
	for (let n = 0; n < 3; n++) await world.answer(reset);
	await soon(() => world.code).toBe('SYNC_STALLED');
	expect(world.isFetching).toBe(false);
	// By itself, after its time; it is reported once.
	for (let n = 0; n < 3; n++) await world.answer(reset);
	await soon(() => world.asked).toBe(asked + 10);
	await world.answer(reset);
	await world.answer({ rows: [], cursor: 'r' });
	await soon(() => world.code).toBeUndefined();
	expect((await world.sync.todos.toArray()).map(({ id }) => id)).toEqual(['a']);
	expect(world.errors).toEqual(['SYNC_STALLED']);
});

test('stop → off, in every state: nothing is asked for and nothing is taken over afterwards', async () => {
	const states: Record<string, (world: World) => Promise<void>> = {
		fetching: async (world) => void (await soon(() => world.asked).toBe(1)),
		again: async (world) => {
			await soon(() => world.asked).toBe(1);
			world.sync.retry();
		},
		current: (world) => world.settle(),
		waiting: async (world) => {
			await world.answer(new Error('away'));
			await soon(() => world.code).toBe('SYNC_OFFLINE');
		},
		stopped: async (world) => {
			await soon(() => world.asked).toBe(1);
			world.mayRead = false;
			await world.answer(new Error('away'));
			await soon(() => world.code).toBe('SYNC_DENIED');
		}
	};
	for (const [state, reach] of Object.entries(states)) {
		const world = await World.create();
		await reach(world);
		await world.sync.clear();
		world.mayRead = true;
		const { asked } = world;
		await world.gap();
		world.sync.retry();
		if (state === 'fetching' || state === 'again') {
			await world.answer({ rows: [todo('a')], cursor: '1' });
		}
		await new Promise((resolve) => setTimeout(resolve, state === 'waiting' ? 1_200 : 60));
		expect(world.asked, state).toBe(asked);
		expect(await world.sync.todos.count(), state).toBe(0);
		await server.end();
	}
});
