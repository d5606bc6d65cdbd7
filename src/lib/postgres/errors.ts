import { RealtimeError } from '../protocol/errors.js';

/** Codes of a database that lacks a schema, a table or a function. */
const NOT_MIGRATED = new Set(['3F000', '42P01', '42883']);

/** Classes of errors whose text is about the server and contains nothing that was sent to it. */
const HARMLESS = /^(08|25|40|42|53|55|57)/;

/** Classes of errors whose text names users and databases. */
const LOGIN: Record<string, string> = {
	'28': 'it refused the user or the password',
	'3D': 'it has no such database'
};

/**
 * @returns an error that says what happened and what to do. It has no cause: errors of the clients carry
 *   statements and their parameters, and may name hosts and users.
 */
export function explain(error: unknown, schema: string): RealtimeError {
	if (error instanceof RealtimeError) return error;
	const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
	if (typeof code === 'string' && NOT_MIGRATED.has(code)) {
		return new RealtimeError(
			'BACKEND',
			`The Postgres schema "${schema}" lacks what sveltekit-inngest needs: call \`await migrate(client)\` of "sveltekit-inngest/postgres" once, with the same \`schema\`, or pass \`migrate: true\` to \`postgresBackend\`.`
		);
	}
	if (typeof code !== 'string') return new RealtimeError('BACKEND', 'Postgres failed.');
	const said = HARMLESS.test(code) ? String(message) : LOGIN[code.slice(0, 2)];
	const why = said === undefined ? '' : `: ${said}`;
	return new RealtimeError('BACKEND', `Postgres failed (${code})${why}.`);
}
