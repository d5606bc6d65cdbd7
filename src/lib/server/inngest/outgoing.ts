import type { StandardSchemaV1 } from '@standard-schema/spec';
import { RealtimeError } from '../../protocol/errors.js';
import { CallbackError } from '../failure/callback.js';
import { askSchema } from '../hub/schema.js';
import type { Address } from './target.js';

/** Most bytes of a message. Inngest cuts off the rest, and what remains is not valid JSON. */
const MAX_MESSAGE_BYTES = 512 * 1024;

/** A message to be sent. */
export interface Outgoing {
	/** The data as JSON. */
	json: string;
	/** The data that readers get: the output of the topic's schema for that JSON. */
	output: unknown;
}

/**
 * Checks a message in the form that its readers will receive, after JSON.
 *
 * @param timeoutMs Time limit, in milliseconds, of an asynchronous schema.
 * @throws {RealtimeError} `INVALID_MESSAGE` when the data cannot be sent as JSON, is larger than 512 KiB,
 *   or does not match the topic's schema as JSON.
 */
export async function checkOutgoing(
	address: Address,
	data: unknown,
	timeoutMs: number
): Promise<Outgoing> {
	const place = describePlace(address);
	const json = toJson(data, place);
	const { schema } = address;
	return {
		json,
		output: schema ? await validate(schema, { data, json, place, timeoutMs }) : JSON.parse(json)
	};
}

export function describePlace({ channel, topic }: Pick<Address, 'channel' | 'topic'>): string {
	return `topic "${topic}" of channel "${channel}"`;
}

/**
 * @throws {RealtimeError} `INVALID_MESSAGE` for data that JSON cannot express, or that is too large for
 * Inngest.
 */
function toJson(data: unknown, place: string): string {
	let json: string | undefined;
	try {
		json = JSON.stringify(data);
	} catch (error) {
		throw invalid(place, `the data cannot be sent as JSON: ${(error as Error).message}`, error);
	}
	if (json === undefined) {
		const what = data === undefined ? 'undefined' : `a ${typeof data}`;
		throw invalid(place, `the data is ${what}, which JSON cannot express; publish null instead`);
	}
	const bytes = new TextEncoder().encode(json).length;
	if (bytes > MAX_MESSAGE_BYTES) {
		throw invalid(
			place,
			`the data is ${bytes} bytes as JSON, and Inngest takes at most ${MAX_MESSAGE_BYTES} (512 KiB); publish a reference to it instead`
		);
	}
	return json;
}

/**
 * @returns the data that readers get: the output of the schema for its JSON.
 * @throws {RealtimeError} `INVALID_MESSAGE` when the data does not match after it was sent as JSON.
 */
async function validate(
	schema: StandardSchemaV1,
	message: { data: unknown; json: string; place: string; timeoutMs: number }
): Promise<unknown> {
	const { data, json, place, timeoutMs } = message;
	const result = await outputOf(schema, JSON.parse(json), timeoutMs);
	if (!('mismatch' in result)) return result.output;
	const { text, cause } = result.mismatch;
	// Do not call a schema again that did not settle.
	const isLate = cause instanceof RealtimeError && cause.code === 'CALLBACK_TIMEOUT';
	if (isLate) {
		throw invalid(
			place,
			`the topic's schema did not settle within ${timeoutMs} ms; make it settle sooner, or raise \`callbackTimeoutMs\``,
			cause
		);
	}
	if ('mismatch' in (await outputOf(schema, data, timeoutMs))) {
		throw invalid(place, `the data does not match the topic's schema: ${text}`, cause);
	}
	throw invalid(
		place,
		`the data matches the topic's schema, but what readers receive does not: ${text}. They receive JSON, in which a Date is a text, NaN is null and a Map is {}. Write the schema for that: z.coerce.date() instead of z.date(), for example`,
		cause
	);
}

/** @returns the output of the schema, or why readers would not get the data. */
async function outputOf(
	schema: StandardSchemaV1,
	data: unknown,
	timeoutMs: number
): Promise<{ output: unknown } | { mismatch: { text: string; cause: unknown } }> {
	try {
		const result = await askSchema(schema, data, timeoutMs);
		if (result.issues) {
			return { mismatch: { text: describe(result.issues[0]), cause: result.issues } };
		}
		// Browsers get the output of the schema, as JSON again.
		JSON.stringify(result.value);
		return { output: result.value };
	} catch (error) {
		const cause = error instanceof CallbackError ? error.cause : error;
		return { mismatch: { text: String(cause), cause } };
	}
}

function describe(issue: StandardSchemaV1.Issue | undefined): string {
	if (!issue) return 'invalid';
	const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part));
	return path.length === 0 ? issue.message : `${issue.message} (at ${path.join('.')})`;
}

function invalid(place: string, why: string, cause?: unknown): RealtimeError {
	return new RealtimeError('INVALID_MESSAGE', `Not published to ${place}: ${why}.`, { cause });
}
