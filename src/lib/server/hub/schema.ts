import type { StandardSchemaV1 } from '@standard-schema/spec';
import { callApp } from '../failure/callback.js';
import { whenReady, type Answer } from '../runtime/thenable.js';

/**
 * Validates data with the schema of a topic. Synchronous if the schema is.
 *
 * @throws {CallbackError} when it throws, rejects, or does not settle within `timeoutMs`.
 * @throws {TypeError} when it returns neither a value nor issues, so that nobody knows whether the data is
 *   valid.
 */
export function askSchema(
	schema: StandardSchemaV1,
	data: unknown,
	timeoutMs: number
): Answer<StandardSchemaV1.Result<unknown>> {
	const answer = callApp('schema', timeoutMs, () => schema['~standard'].validate(data));
	return whenReady(answer, (result) => {
		if (typeof result === 'object' && result && (result.issues || 'value' in result)) return result;
		throw new TypeError('The schema returned neither a value nor issues.');
	});
}
