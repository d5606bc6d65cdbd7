import { RealtimeError } from '../protocol/errors.js';
import { checkSchema, rowsChannel } from './schema.js';

/** Which changes of a table are announced, and with which columns. */
export interface TriggerOptions {
	/** Name of the table, with its schema if that is not `public`: `'orders'`, `'shop.orders'`. */
	table: string;
	/** Column or columns that identify a row: usually its primary key. */
	key: string | readonly string[];
	/**
	 * Columns that are announced. An update that changes neither them nor the key is not announced. Everybody
	 * who can connect to the database can read announcements, so do not include secrets.
	 * @default all columns
	 */
	columns?: readonly string[];
	/** Name of the Postgres schema that `postgresSource` uses. @default 'sveltekit_inngest' */
	schema?: string;
}

/** The name of a table for triggers and sources: `schema.table`. */
export function tableName(table: string): string {
	const parts = typeof table === 'string' ? table.split('.') : [];
	const [schema, name] = parts.length === 1 ? ['public', parts[0]] : parts;
	if (parts.length > 2 || !schema || !name) {
		throw new RealtimeError(
			'INVALID_OPTION',
			`\`table\` must be "table" or "schema.table", not ${JSON.stringify(table)}.`
		);
	}
	return `${schema}.${name}`;
}

/** @returns a name between quotes. */
export function identifier(name: string): string {
	return `"${name.replaceAll('"', '""')}"`;
}

/** @returns a table between quotes. */
export function quotedTable(table: string): string {
	return tableName(table).split('.').map(identifier).join('.');
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/**
 * The SQL of a trigger that announces changes of a table to `postgresSource`. Put it into a migration of your
 * app. You may run it again: it replaces the earlier trigger.
 *
 * The trigger never makes a write fail. A row that is too long for a notification is announced by its key,
 * and readers reload their data after a change that cannot be announced at all.
 *
 * @throws {RealtimeError} `INVALID_OPTION` when a name is missing or not valid.
 */
export function triggerSql(options: TriggerOptions): string {
	const schema = checkSchema(options.schema);
	const table = quotedTable(options.table);
	const key = names('key', typeof options.key === 'string' ? [options.key] : options.key);
	const columns = options.columns ? names('columns', options.columns) : [];
	const args = [tableName(options.table), JSON.stringify(key), JSON.stringify(columns)];
	const call = `"${schema}".announce_row(${args.map(literal).join(', ')})`;
	const trigger = identifier(`${schema}_rows`);
	const truncated = identifier(`${schema}_truncated`);
	return `${announceRow(schema)}
drop trigger if exists ${trigger} on ${table};
create trigger ${trigger} after insert or update or delete on ${table}
	for each row execute function ${call};

drop trigger if exists ${truncated} on ${table};
create trigger ${truncated} after truncate on ${table}
	for each statement execute function ${call};
`;
}

function names(option: string, value: readonly string[]): readonly string[] {
	const isValid = Array.isArray(value) && value.every((name) => typeof name === 'string' && name);
	if (isValid && value.length > 0) return value;
	throw new RealtimeError('INVALID_OPTION', `\`${option}\` must name columns.`);
}

/**
 * The function behind the triggers. The time makes each payload differ from all others of its transaction,
 * because equal ones arrive only once. Together with the number of the transaction it identifies a change.
 */
const announceRow = (schema: string): string => `do $do$ begin
	if to_regnamespace('"${schema}"') is null then create schema "${schema}"; end if;
end $do$;

create or replace function "${schema}".announce_row() returns trigger
language plpgsql as $f$
declare
	v_table constant text := tg_argv[0];
	v_operations text[] := array[lower(tg_op)];
	v_operation text;
	v_new jsonb;
	v_old jsonb;
	v_new_key jsonb;
	v_old_key jsonb;
	v_notice jsonb;
	v_row jsonb;
	v_before jsonb;
begin
	begin
		if tg_op = 'TRUNCATE' then
			perform pg_notify(
				'${rowsChannel(schema)}',
				jsonb_build_object('table', v_table, 'isUnknown', true, 'at', clock_timestamp())::text
			);
			return null;
		end if;
		if tg_op <> 'DELETE' then v_new := to_jsonb(new); end if;
		if tg_op <> 'INSERT' then v_old := to_jsonb(old); end if;
		select jsonb_object_agg(name, v_new->name), jsonb_object_agg(name, v_old->name)
		into v_new_key, v_old_key
		from jsonb_array_elements_text(tg_argv[1]::jsonb) as names(name);
		if tg_argv[2] <> '[]' then
			select
				case when v_new is not null then jsonb_object_agg(name, v_new->name) end,
				case when v_old is not null then jsonb_object_agg(name, v_old->name) end
			into v_new, v_old
			from jsonb_array_elements_text(tg_argv[2]::jsonb) as names(name);
		end if;
		if tg_op = 'UPDATE' and v_new_key <> v_old_key then
			-- For readers that know rows by their keys, these are two changes.
			v_operations := '{delete,insert}';
		elsif tg_op = 'UPDATE' and v_new = v_old then
			return null;
		end if;
		foreach v_operation in array v_operations loop
			v_row := case when v_operation <> 'delete' then v_new end;
			v_before := case when v_operation <> 'insert' then v_old end;
			v_notice := jsonb_build_object(
				'table', v_table,
				'tx', pg_current_xact_id()::text,
				'at', (extract(epoch from clock_timestamp()) * 1000000)::bigint,
				'operation', v_operation,
				'key', (case when v_operation = 'delete' then v_old_key else v_new_key end)::text,
				'columns', tg_argv[2]::jsonb
			);
			if octet_length((v_notice || jsonb_build_object('row', v_row, 'old', v_before))::text) <= 7900 then
				v_notice := v_notice || jsonb_build_object('row', v_row, 'old', v_before);
			elsif octet_length((v_notice || jsonb_build_object('row', v_row))::text) <= 7900 then
				v_notice := v_notice || jsonb_build_object('row', v_row);
			end if;
			perform pg_notify('${rowsChannel(schema)}', v_notice::text);
		end loop;
	exception when others then
		-- It is still too long, or has a value that JSON cannot express.
		perform pg_notify(
			'${rowsChannel(schema)}',
			jsonb_build_object('table', v_table, 'isUnknown', true, 'at', clock_timestamp())::text
		);
	end;
	return null;
exception when others then
	return null;
end $f$;
`;
