import { RealtimeError } from '../protocol/errors.js';
import { openDatabase, type PostgresClient } from './clients/client.js';
import type { Database } from './clients/database.js';
import { explain } from './errors.js';
import { migrations } from './migrations.js';
import { checkSchema } from './schema.js';

/** Options of `migrate`. */
export interface MigrateOptions {
	/** Name of the Postgres schema. @default 'sveltekit_inngest' */
	schema?: string;
}

/**
 * Creates or updates the tables that {@link postgresBackend} needs. Any number of processes may call it at
 * the same time, and you may call it again at any time: it only adds what is missing. If nothing is missing,
 * it needs no right to create anything.
 *
 * @throws {RealtimeError} `BACKEND` when the database fails, or was migrated by a newer version that
 *   this one cannot work with; `INVALID_OPTION` when the client or the schema is not valid.
 */
export async function migrate(client: PostgresClient, options: MigrateOptions = {}): Promise<void> {
	const schema = checkSchema(options.schema);
	const database = openDatabase(client);
	try {
		await migrateDatabase(database, schema);
	} finally {
		database.close();
	}
}

/** Does the same as {@link migrate}, through existing connections. */
export async function migrateDatabase(database: Database, schema: string): Promise<void> {
	const steps = migrations(schema);
	const newest = steps.at(-1)!.id;
	try {
		if ((await appliedSteps(database, schema)) < newest) await database.script(script(schema));
		const tooNew = await newerSteps(database, schema, newest);
		if (!tooNew) return;
	} catch (error) {
		throw explain(error, schema);
	}
	throw new RealtimeError(
		'BACKEND',
		`The Postgres schema "${schema}" was migrated by a newer version of sveltekit-inngest, which this one cannot work with: deploy that version.`
	);
}

/** @returns the number of the last step, or 0 if there is none. */
async function appliedSteps(database: Database, schema: string): Promise<number> {
	const exists = `select to_regclass($1::text)::text`;
	const [found] = await database.query(exists, [`"${schema}".migrations`], QUERY_MS);
	if (!found?.[0]) return 0;
	const last = `select coalesce(max(id), 0)::text from "${schema}".migrations`;
	const [row] = await database.query(last, [], QUERY_MS);
	return Number(row![0]);
}

/** @returns whether a version after this one has taken a step that this one cannot work with. */
async function newerSteps(database: Database, schema: string, newest: number): Promise<boolean> {
	const newer = `select id::text from "${schema}".migrations where id > $1::text::int and is_breaking`;
	return (await database.query(newer, [String(newest)], QUERY_MS)).length > 0;
}

/** Time limit, in milliseconds, for finding out what exists. */
const QUERY_MS = 10_000;

/** @returns all steps; each runs only if it has not run yet. A second process waits for the first. */
function script(schema: string): string {
	return `
select pg_advisory_xact_lock(hashtextextended('${schema}.migrate', 0));
do $migrate$ begin
if to_regnamespace('"${schema}"') is null then create schema "${schema}"; end if;
create table if not exists "${schema}".migrations (
	id int primary key,
	is_breaking boolean not null,
	at timestamptz not null default clock_timestamp()
);
${migrations(schema)
	.map(
		({ id, isBreaking, sql }) => `
if not exists (select from "${schema}".migrations where id = ${id}) then
	insert into "${schema}".migrations (id, is_breaking) values (${id}, ${isBreaking});
	${sql}
end if;`
	)
	.join('\n')}
end $migrate$;
`;
}
