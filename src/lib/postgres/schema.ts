import { RealtimeError } from '../protocol/errors.js';

/** Default schema of the tables. */
export const DEFAULT_SCHEMA = 'sveltekit_inngest';

/** Longest name: it is part of the name of a channel of notifications, which may have 63 bytes. */
const SCHEMA = /^[A-Za-z_][A-Za-z0-9_]{0,54}$/;

/**
 * @returns the name of a schema, which is safe between quotes.
 * @throws {RealtimeError} `INVALID_OPTION` when it is not.
 */
export function checkSchema(schema: string = DEFAULT_SCHEMA): string {
	if (typeof schema === 'string' && SCHEMA.test(schema)) return schema;
	throw new RealtimeError(
		'INVALID_OPTION',
		`\`schema\` must be a name of at most 55 letters, digits and underscores, not ${JSON.stringify(schema)}.`
	);
}

/** Name of the channel on which appended events are announced. */
export const busChannel = (schema: string): string => `${schema}_bus`;

/** Name of the channel on which changed rows are announced. */
export const rowsChannel = (schema: string): string => `${schema}_rows`;
