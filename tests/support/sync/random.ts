import fc from 'fast-check';
import { expect } from 'vitest';
import { z } from 'zod';
import { SyncClient, type StorageApi, type SyncRejection } from '../../../src/lib/sync/index.js';
import {
	defineSync,
	defineTable,
	type SyncContext,
	type SyncPublisher,
	type SyncWriteContext,
	type TableSync
} from '../../../src/lib/sync/server/index.js';
import { maySee, Store } from './todos.js';

const ROWS = 50;

const schema = z.object({ id: z.string(), owner: z.string(), text: z.string(), count: z.number() });
type Row = z.output<typeof schema>;
const tables = {
	notes: defineTable('notes', { schema, key: 'id' }),
	tasks: defineTable('tasks', { schema, key: 'id' }),
	tags: defineTable('tags', { schema, key: 'id' })
};
type Name = keyof typeof tables;
const NAMES = Object.keys(tables) as Name[];

const PEOPLE = [
	{ id: 'alice', teams: ['red'] },
	{ id: 'bob', teams: ['red', 'blue'] },
	{ id: 'carol', teams: ['blue'] },
	{ id: 'dora', teams: [] as string[] }
];
const OWNERS = ['all', 'alice', 'bob', 'red', 'blue'];
const mine = (person: number, owner: string): boolean =>
	['all', PEOPLE[person]!.id, ...PEOPLE[person]!.teams].includes(owner);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const refusal = (status: number): unknown => ({ status, body: { message: 'No.' } });

/** A server that can be killed. Its database outlives it. */
export interface RandomServer {
	/** Starts it, unless it runs. */
	start(): Promise<void>;
	kill(): Promise<void>;
	readonly publisher: SyncPublisher<TableSync>;
	/** URL of the endpoint. */
	readonly endpoint: string;
	/** Sends the requests of one person. */
	fetch(user: string, teams: readonly string[]): typeof globalThis.fetch;
}

/** Makes a server of a database. */
export type CreateServer = (database: Database) => RandomServer;

/** The database of the server. */
export class Database {
	readonly stores: Record<Name, Store<Row>> = {
		notes: new Store(),
		tasks: new Store(),
		tags: new Store()
	};
	/** Texts whose write ran. */
	readonly accepted = new Set<string>();
	/** What was done to each row, oldest first. */
	readonly log = new Map<string, string[]>();
	/** Writes that ran: a killed process may have had no time to say so. */
	readonly #ran = new Set<string>();

	note(name: Name, id: string, what: unknown): void {
		const key = `${name} ${id}`;
		const line = `${Math.round(performance.now())} ${JSON.stringify(what)}`;
		this.log.set(key, [...(this.log.get(key) ?? []), line]);
	}

	/** The tables, for one life of the server. */
	tables(life: { isOver: boolean }): TableSync[] {
		const alive = async (): Promise<void> => {
			await sleep(Math.random() * 3);
			// What a killed process had not done yet is never done.
			if (life.isOver) await new Promise(() => {});
		};
		return NAMES.map((name) => this.#sync(name, alive));
	}

	#sync(name: Name, alive: () => Promise<void>): TableSync {
		const store = this.stores[name];
		return defineSync({
			table: tables[name],
			authorize: ({ identity }) => identity !== null,
			scope: (_, __, row) => row.owner,
			fetch: async (context, { cursor }) => {
				await alive();
				const page = store.fetch(cursor, 20, (row) => maySee(context, row));
				for (const row of page.rows)
					this.note(name, row.id, ['fetch', userOf(context), cursor, row]);
				for (const id of page.deleted)
					this.note(name, id, ['fetch', userOf(context), cursor, null]);
				return page;
			},
			create: async (context, row) => {
				await alive();
				this.note(name, row.id, ['create', userOf(context), context.id, row]);
				if (row.text.startsWith('no')) throw refusal(403);
				this.accepted.add(row.text);
				return store.set(row);
			},
			update: async (context, id, changes) => {
				await alive();
				const row = store.rows.get(id);
				this.note(name, id, ['update', userOf(context), context.id, changes]);
				if (row && !this.#mayWrite(context, row)) throw refusal(404);
				if (changes.text?.startsWith('no')) throw refusal(422);
				if (changes.text !== undefined) this.accepted.add(changes.text);
				return row ? store.set({ ...row, ...changes }) : null;
			},
			delete: async (context, id) => {
				await alive();
				const row = store.rows.get(id);
				this.note(name, id, ['delete', userOf(context), context.id]);
				if (row && !this.#mayWrite(context, row)) throw refusal(404);
				store.delete(id);
			}
		}) as unknown as TableSync;
	}

	/** A write that gave the row to others is allowed when it runs again. */
	#mayWrite(context: SyncWriteContext, row: Row): boolean {
		const run = `${context.id} ${row.id}`;
		if (!this.#ran.has(run) && !maySee(context, row)) return false;
		this.#ran.add(run);
		return true;
	}
}

const userOf = ({ identity }: SyncContext): string => identity?.id ?? '';

/** The line of one page to the server. */
class Line {
	readonly #fetch: typeof globalThis.fetch;
	readonly #told: string[];
	#isUp = true;
	/** What ends each request, also where its body is still being read. */
	readonly #ends: AbortController[] = [];

	/** @param told Gets a copy of each part of an answer. */
	constructor(fetch: typeof globalThis.fetch, told: string[]) {
		this.#fetch = fetch;
		this.#told = told;
	}

	readonly fetch: typeof globalThis.fetch = async (input, init = {}) => {
		if (!this.#isUp) throw new TypeError('The line is down');
		const request = new AbortController();
		this.#ends.push(request);
		if (init.signal?.aborted) request.abort();
		init.signal?.addEventListener('abort', () => request.abort(), { signal: request.signal });
		const answer = await this.#fetch(input, { ...init, signal: request.signal });
		if (!this.#isUp) throw new TypeError('The line was cut');
		const decoder = new TextDecoder();
		const copied = answer.body?.pipeThrough(
			new TransformStream<Uint8Array, Uint8Array>({
				transform: (part, controller) => {
					const text = decoder.decode(part, { stream: true });
					if (text.trim() !== '') this.#told.push(`${Math.round(performance.now())} ${text}`);
					controller.enqueue(part);
				}
			})
		);
		return new Response(copied, answer);
	};

	down(): void {
		this.#isUp = false;
		for (const end of this.#ends.splice(0)) end.abort();
	}

	up(): void {
		this.#isUp = true;
	}
}

/** One person's browser: its storage outlives its pages. */
class Browser {
	readonly #server: RandomServer;
	readonly #person: number;
	readonly #name: string;
	readonly #memory: StorageApi | undefined;
	readonly rejected: SyncRejection[] = [];
	/** Texts that were written here, and are not known to be settled otherwise. */
	readonly written = new Map<string, string>();
	/** Rows that should not have been visible. */
	readonly seen: Row[] = [];
	/** Answers and messages that came. */
	readonly told: string[] = [];
	way!: Line;
	sync!: ReturnType<Browser['open']>;

	constructor(server: RandomServer, person: number, run: string, memory: StorageApi | undefined) {
		this.#server = server;
		this.#memory = memory;
		this.#person = person;
		this.#name = `${run} ${PEOPLE[person]!.id}`;
		this.sync = this.open();
	}

	open() {
		const { id, teams } = PEOPLE[this.#person]!;
		this.way = new Line(this.#server.fetch(id, teams), this.told);
		return new SyncClient({
			name: this.#name,
			endpoint: this.#server.endpoint,
			fetch: this.way.fetch,
			...(this.#memory && { memory: this.#memory }),
			onRejected: (rejection) => this.rejected.push(rejection),
			tables: {
				notes: { table: tables.notes, indexes: ['owner'] },
				tasks: { table: tables.tasks },
				tags: { table: tables.tags }
			}
		});
	}

	/** The page is gone without a word. */
	crash(): void {
		this.way.down();
		this.sync = this.open();
	}

	async write({ table, row, kind, owner, isBad, n }: Write): Promise<void> {
		const rows = this.sync[table];
		const id = `r${row}`;
		const text = `${isBad ? 'no' : 'ok'} ${this.#person} ${owner} ${n}`;
		const whole = { id, owner, text, count: n };
		const there = await rows.get(id);
		if (kind === 'delete') return rows.delete(id);
		if (kind === 'count') return void (await rows.update(id, { count: n }));
		if (kind === 'bulk') {
			const keys = (await rows.toCollection().limit(5).primaryKeys()) as string[];
			await rows.bulkUpdate(keys.map((key) => ({ key, changes: { count: n } })));
			return;
		}
		this.written.set(text, id);
		if (there) await rows.put(id, { owner, text });
		else await rows.add(whole);
	}

	/** Looks whether something is visible that is for others. */
	async look(): Promise<void> {
		for (const name of NAMES) {
			for (const row of await this.sync[name].toArray()) {
				const [, author, owner] = row.text.split(' ');
				if (author !== String(this.#person) && !mine(this.#person, owner!)) this.seen.push(row);
			}
		}
	}
}

interface Write {
	do: 'write';
	who: number;
	table: Name;
	row: number;
	kind: 'text' | 'count' | 'delete' | 'bulk';
	owner: string;
	isBad: boolean;
	n: number;
}
type Step =
	| Write
	| { do: 'down' | 'up' | 'crash'; who: number }
	| { do: 'kill' | 'start' | 'forget' }
	| { do: 'elsewhere'; table: Name; row: number; owner: string; n: number }
	| { do: 'pause'; ms: number };

const who = fc.nat({ max: PEOPLE.length - 1 });
const table = fc.constantFrom(...NAMES);
const row = fc.nat({ max: ROWS - 1 });
const owner = fc.constantFrom(...OWNERS);
const n = fc.nat();
const write = fc.record({
	do: fc.constant('write' as const),
	who,
	table,
	row,
	kind: fc.constantFrom('text', 'text', 'text', 'count', 'delete', 'bulk'),
	owner,
	isBad: fc.constantFrom(false, false, false, true),
	n
});
const step: fc.Arbitrary<Step> = fc.oneof(
	{ weight: 12, arbitrary: write as fc.Arbitrary<Step> },
	{ weight: 2, arbitrary: fc.record({ do: fc.constantFrom('down' as const, 'up' as const), who }) },
	{ weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), who }) },
	{
		weight: 1,
		arbitrary: fc.record({
			do: fc.constantFrom('kill' as const, 'start' as const, 'forget' as const)
		})
	},
	{
		weight: 2,
		arbitrary: fc.record({ do: fc.constant('elsewhere' as const), table, row, owner, n })
	},
	{
		weight: 4,
		arbitrary: fc.record({ do: fc.constant('pause' as const), ms: fc.nat({ max: 60 }) })
	}
);

let runs = 0;

/** Lives through some steps, and checks what there is when things are quiet. */
async function live(
	steps: readonly Step[],
	create: CreateServer,
	storage: (() => StorageApi) | undefined
): Promise<void> {
	const database = new Database();
	for (const name of NAMES) {
		for (let n = 0; n < ROWS / 2; n++) {
			const owner = OWNERS[n % OWNERS.length]!;
			database.stores[name].set({ id: `r${n}`, owner, text: `ok 9 ${owner} ${n}`, count: 0 });
		}
	}
	const server = create(database);
	await server.start();
	const run = `${Date.now()} ${++runs}`;
	const browsers = PEOPLE.map((_, person) => new Browser(server, person, run, storage?.()));
	try {
		for (const one of steps) {
			if (one.do === 'write') await browsers[one.who]!.write(one);
			else if (one.do === 'down') browsers[one.who]!.way.down();
			else if (one.do === 'up') browsers[one.who]!.way.up();
			else if (one.do === 'crash') browsers[one.who]!.crash();
			else if (one.do === 'kill') await server.kill();
			else if (one.do === 'start') await server.start();
			else if (one.do === 'pause') await sleep(one.ms);
			else if (one.do === 'forget') {
				for (const name of NAMES) database.stores[name].epoch++;
			} else if (one.do === 'elsewhere') {
				const { owner, n } = one;
				const store = database.stores[one.table];
				const row = { id: `r${one.row}`, owner, text: `ok 9 ${owner} e${n}`, count: n };
				const action = store.rows.has(row.id) ? 'update' : 'create';
				await server.start();
				store.set(row);
				database.note(one.table, row.id, ['elsewhere', row]);
				await server.publisher.publish(one.table, action, row.id, row);
			}
			await browsers[Math.floor(Math.random() * browsers.length)]!.look();
		}
		await server.start();
		for (const { way, sync } of browsers) {
			way.up();
			sync.retry();
		}
		const copies = async (): Promise<unknown> =>
			Promise.all(
				browsers.map(async ({ sync }) =>
					Promise.all(NAMES.map(async (name) => (await sync[name].toArray()).sort(byId)))
				)
			);
		const expected = (): unknown =>
			browsers.map((_, person) =>
				NAMES.map((name) =>
					[...database.stores[name].rows.values()]
						.filter(({ owner }) => mine(person, owner))
						.sort(byId)
				)
			);
		const errors = (): unknown[] =>
			browsers.flatMap(({ sync }) => NAMES.map((name) => sync.status.tables[name].error?.code));
		const isQuiet = (): boolean =>
			browsers.every(({ sync }) => sync.pending.length === 0) && errors().every((code) => !code);
		const deadline = performance.now() + 30_000;
		let isEqual = false;
		while (!isEqual && performance.now() < deadline) {
			await sleep(50);
			for (const browser of browsers) await browser.look();
			isEqual = isQuiet() && JSON.stringify(await copies()) === JSON.stringify(expected());
		}
		if (!isEqual) await tellDifferences(database, browsers);
		expect(errors()).toEqual(Array(12).fill(undefined));
		expect(browsers.map(({ sync }) => sync.pending)).toEqual(PEOPLE.map(() => []));
		expect(await copies()).toEqual(expected());
		for (const [person, { written, rejected, seen }] of browsers.entries()) {
			expect(seen).toEqual([]);
			const refused = new Set(rejected.map(({ row }) => row?.text));
			for (const text of written.keys()) {
				// A refusal that a crash kept from the page was refused all the same.
				const isSettled = database.accepted.has(text) || refused.has(text) || text.startsWith('no');
				const isOfOthers = !mine(person, text.split(' ')[2]!);
				expect(isSettled || isOfOthers, text).toBe(true);
			}
		}
	} finally {
		for (const { sync } of browsers) sync.close();
		await server.kill();
	}
}

/** Prints what happened to rows that differ, and what is known here and there. */
async function tellDifferences(database: Database, browsers: readonly Browser[]): Promise<void> {
	for (const [person, { sync, told }] of browsers.entries()) {
		for (const name of NAMES) {
			const here = new Map((await sync[name].toArray()).map((row) => [row.id, row]));
			for (const id of new Set([...here.keys(), ...database.stores[name].rows.keys()])) {
				const row = database.stores[name].rows.get(id);
				const there = row && mine(person, row.owner) ? row : undefined;
				const copy = here.get(id);
				if (JSON.stringify(copy) === JSON.stringify(there)) continue;
				const { id: user } = PEOPLE[person]!;
				console.error(
					[
						`${user} ${name} ${id}: ${JSON.stringify(copy)}, and on the server ${JSON.stringify(row)}`,
						`change ${database.stores[name].changed.get(id)} of ${database.stores[name].count}`,
						...(database.log.get(`${name} ${id}`) ?? []).slice(-20),
						`what ${user} was told of it:`,
						...told.filter((text) => text.includes(`"${id}"`)).slice(-20)
					].join('\n')
				);
			}
		}
	}
}

const byId = (one: Row, other: Row): number => (one.id < other.id ? -1 : 1);

/** How many runs of how many steps, from which seed. */
export interface RandomOptions {
	runs: number;
	steps: number;
	seed: number;
	/** Which of a seed's runs is repeated. */
	path?: string | undefined;
	create: CreateServer;
	/** Makes the storage of a browser. @default the page's own */
	storage?: () => StorageApi;
}

/** Whatever happens, when things are quiet all copies are the rows of their scope. */
export async function liveAtRandom(options: RandomOptions): Promise<void> {
	const { runs: numRuns, steps: length, seed, path, create, storage } = options;
	const steps = fc.array(step, { minLength: length, maxLength: length });
	await fc.assert(
		fc.asyncProperty(steps, (steps) => live(steps, create, storage)),
		{ seed, numRuns, endOnFailure: true, ...(path !== undefined && { path }) }
	);
}
