export { postgresBackend, type PostgresBackend, type PostgresBackendOptions } from './backend.js';
export type { PostgresClient } from './clients/client.js';
export type { PGliteClient } from './clients/pglite.js';
export type { PgPool } from './clients/pg.js';
export type { PostgresSql } from './clients/postgres.js';
export { migrate, type MigrateOptions } from './migrate.js';
export {
	postgresSource,
	type JsonRow,
	type PostgresSourceOptions,
	type RowChange,
	type RowMessage
} from './source.js';
export { triggerSql, type TriggerOptions } from './trigger.js';
