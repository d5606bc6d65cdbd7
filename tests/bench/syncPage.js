// Runs in Chromium: `window.firstSync()` and `window.localWrites()`.
import { liveQuery } from 'dexie';
import { z } from 'zod';
import { defineTable, SyncClient } from '../../src/lib/sync/index.ts';

const schema = z.object({ id: z.string(), title: z.string(), done: z.boolean(), at: z.number() });
const rows = defineTable('rows', { schema, key: 'id' });
const others = defineTable('others', { schema, key: 'id' });
let names = 0;
const open = () =>
	new SyncClient({
		name: `bench ${Date.now()} ${++names}`,
		endpoint: '/realtime',
		tables: { rows: { table: rows, indexes: ['at'] }, others: { table: others } }
	});

const until = async (isDone) => {
	while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 2));
};
const median = (times) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)];

/** Milliseconds until all rows are here, from an empty copy. */
window.firstSync = async () => {
	const start = performance.now();
	const sync = open();
	await until(() => sync.status.tables.rows.lastSyncAt !== null);
	const ms = performance.now() - start;
	const count = await sync.rows.count();
	sync.close();
	return { ms, count };
};

/** Medians, in milliseconds, of a local write and of its way to a query; runs of a query of another table. */
window.localWrites = async (count) => {
	const sync = open();
	await until(() => sync.status.tables.rows.lastSyncAt !== null);
	let seen = 0;
	let otherRuns = 0;
	const watches = [
		liveQuery(() => sync.rows.where('at').aboveOrEqual(1e9).count()).subscribe((n) => (seen = n)),
		liveQuery(() => (otherRuns++, sync.others.count())).subscribe(() => {})
	];
	await until(() => otherRuns > 0);
	const before = otherRuns;
	const writes = [];
	const shown = [];
	for (let n = 1; n <= count; n++) {
		const start = performance.now();
		await sync.rows.add({ id: `new ${n}`, title: 'Tea', done: false, at: 1e9 + n });
		writes.push(performance.now() - start);
		await until(() => seen === n);
		shown.push(performance.now() - start);
		// The next one begins when nothing is under way, as with people.
		await until(() => sync.pending.length === 0);
	}
	for (const watch of watches) watch.unsubscribe();
	await until(() => sync.pending.length === 0);
	sync.close();
	return { write: median(writes), shown: median(shown), otherRuns: otherRuns - before };
};
