import type { StandardSchemaV1 } from '@standard-schema/spec';
import { callApp } from '../failure/callback.js';
import { whenReady, type Answer } from '../runtime/thenable.js';

/**
 * Asks the schema of a topic about data. Answers at once where the schema does.
 *
 * @throws {CallbackError} when it throws, rejects, or does not settle within `timeoutMs`.
 * @throws {TypeError} when it answers with neither a value nor issues: the data is not known to be valid.
 */
export function askSchema(
	schema: StandardSchemaV1,
	data: unknown,
	timeoutMs: number
): Answer<StandardSchemaV1.Result<unknown>> {
	const answer = callApp('schema', timeoutMs, () => schema['~standard'].validate(data));
	return whenReady(answer, (result) => {
		if (typeof result === 'object' && result && (result.issues || 'value' in result)) return result;
		throw new TypeError('The schema answered with neither a value nor issues.');
	});
}
