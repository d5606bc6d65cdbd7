import { error } from '@sveltejs/kit';
import { z } from 'zod';
import { defineSync, defineTable, type SyncContext } from '../../../src/lib/sync/server/index.js';

/** Tables for tests; a row has an owner, `'all'` or the id of a user or team. */
export const todos = defineTable('todos', {
	schema: z.object({
		id: z.string().min(1),
		title: z.string().max(100),
		done: z.boolean().default(false),
		owner: z.string().default('all')
	}),
	key: 'id'
});

export type Todo = z.output<typeof todos.schema>;

/** A row that everybody may see, unless `more` says otherwise. */
export const todo = (id: string, more: Partial<Todo> = {}): Todo => ({
	id,
	title: 'Tea',
	done: false,
	owner: 'all',
	...more
});

/** A table of a server in memory, with every change numbered. */
export class Store<TRow extends { id: string; owner: string }> {
	readonly rows = new Map<string, TRow>();
	/** The number of the newest change of each row, also of those that are deleted. */
	readonly changed = new Map<string, number>();
	/** What each handler was called with. */
	readonly calls: unknown[][] = [];
	count = 0;
	/** Cursors of another epoch are not known. */
	epoch = 0;

	set(row: TRow): TRow {
		this.rows.set(row.id, row);
		this.changed.set(row.id, ++this.count);
		return row;
	}

	delete(id: string): void {
		if (this.rows.delete(id)) this.changed.set(id, ++this.count);
	}

	/** Pages of `size` rows; those that the reader may not see count as deleted. */
	fetch(cursor: unknown, size: number, maySee: (row: TRow) => boolean) {
		const [epoch, at] = typeof cursor === 'string' ? cursor.split(':').map(Number) : [];
		const isReset = epoch !== undefined && epoch !== this.epoch;
		const after = isReset ? 0 : (at ?? 0);
		const changes = [...this.changed]
			.filter(([, at]) => at > after)
			.sort(([, one], [, other]) => one - other)
			.slice(0, size);
		const rows = changes.flatMap(([id]) => this.rows.get(id) ?? []);
		return {
			rows: rows.filter(maySee),
			deleted: changes
				.map(([id]) => id)
				.filter((id) => !this.rows.has(id) || !maySee(this.rows.get(id)!)),
			cursor: `${this.epoch}:${changes.at(-1)?.[1] ?? after}`,
			...(isReset && { reset: true })
		};
	}
}

/** Who a test request is of: the header `x-user`, and its teams. */
export function personOf(request: Request): { id: string; teams: string[] } | null {
	const id = request.headers.get('x-user');
	const teams = request.headers.get('x-teams')?.split(',').filter(Boolean) ?? [];
	return id === null ? null : { id, teams };
}

/** Whether somebody may see a row. */
export function maySee(context: SyncContext, { owner }: { owner: string }): boolean {
	const { identity } = context;
	const teams = (identity?.teams ?? []) as string[];
	return owner === 'all' || owner === identity?.id || teams.includes(owner);
}

/** The todos of a store on the server. Titles that begin with `no` are refused, with `fail` they fail. */
export function todosSync(store: Store<Todo>, { size = 100 } = {}) {
	const check = (title: string | undefined): void => {
		if (title?.startsWith('no')) error(403, 'Not this title.');
		if (title?.startsWith('fail')) throw new Error('The database is away.');
	};
	return defineSync({
		table: todos,
		authorize: ({ identity }) => identity !== null,
		scope: (_, __, row) => row.owner,
		fetch: (context, { cursor }) => {
			store.calls.push(['fetch', cursor]);
			return store.fetch(cursor, size, (row) => maySee(context, row));
		},
		create: (_, row) => {
			store.calls.push(['create', row]);
			check(row.title);
			return store.set(row);
		},
		update: (_, id, changes) => {
			store.calls.push(['update', id, changes]);
			check(changes.title);
			const row = store.rows.get(id);
			return row ? store.set({ ...row, ...changes }) : null;
		},
		delete: (_, id) => {
			store.calls.push(['delete', id]);
			store.delete(id);
		}
	});
}
