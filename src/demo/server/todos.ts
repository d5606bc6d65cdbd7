import { error } from '@sveltejs/kit';
import { defineSync, syncTables, type SyncRow } from 'sveltekit-inngest/sync/server';
import { todos } from '$demo/tables.js';

type Todo = SyncRow<typeof todos>;

const MAX_TODOS = 100;

/**
 * Stands in for a database: rows, and the number of the newest change of each, including deleted ones. It
 * lives on `globalThis`, so that it survives when Vite loads this module again during development.
 */
const KEY = Symbol.for('sveltekit-inngest.demo.todos');
interface Database {
	/** Cursors of another database, from before the server was restarted, are not known. */
	epoch: string;
	rows: Map<string, Todo>;
	changes: Map<string, number>;
	count: number;
}
const db = ((globalThis as { [KEY]?: Database })[KEY] ??= {
	epoch: crypto.randomUUID(),
	rows: new Map(),
	changes: new Map(),
	count: 0
});

function save(id: string, row: Todo | undefined): void {
	if (row) db.rows.set(id, row);
	else db.rows.delete(id);
	db.changes.set(id, ++db.count);
}

/** All rows, oldest first. */
export function allTodos(): Todo[] {
	return [...db.rows.values()].sort((one, other) => one.createdAt - other.createdAt);
}

const todosSync = defineSync({
	table: todos,
	// Everybody who visits the demo shares the list.
	authorize: () => true,
	scope: () => 'all',

	fetch(_, { cursor }) {
		const [epoch, at] = String(cursor ?? '').split(' ');
		const reset = cursor !== null && epoch !== db.epoch;
		const after = reset ? 0 : Number(at ?? 0);
		const changed = [...db.changes].filter(([, number]) => number > after);
		return {
			rows: changed.flatMap(([id]) => db.rows.get(id) ?? []),
			deleted: changed.map(([id]) => id).filter((id) => !db.rows.has(id)),
			cursor: `${db.epoch} ${db.count}`,
			reset
		};
	},

	create({ locals }, row) {
		if (/\bspam\b/i.test(row.title)) error(422, 'No spam, please.');
		if (!db.rows.has(row.id) && db.rows.size >= MAX_TODOS) error(403, 'The list is full.');
		// The server sets who wrote it, not the page.
		const todo = { ...row, by: locals.person.name };
		save(row.id, todo);
		return todo;
	},

	update(_, id, { title, done }) {
		const row = db.rows.get(id);
		if (!row) return null;
		const todo = { ...row, title: title ?? row.title, done: done ?? row.done };
		save(id, todo);
		return todo;
	},

	delete({ locals }, id) {
		const row = db.rows.get(id);
		if (row && row.by !== locals.person.name) error(403, `Only ${row.by} may delete this.`);
		if (row) save(id, undefined);
	}
});

/** Channels and events for the endpoint. */
export const todoTables = syncTables([todosSync]);
