import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ChannelLike } from '../../protocol/channel.js';
import { RealtimeError } from '../../protocol/errors.js';
import { addressOf, type PublishTarget } from './target.js';
import type { InngestClient } from './token.js';

/** Most bytes of a message. Inngest cuts off what follows, and what is left is not JSON any more. */
const MAX_MESSAGE_BYTES = 512 * 1024;

interface PublishApi {
	publish?: (
		target: { channel: string; topics: string[] },
		data: unknown
	) => Promise<{ ok: boolean; error?: { error?: string } }>;
}

/**
 * Publishes one message through Inngest's API, outside of a function. It is validated as its readers will
 * receive it: what JSON makes of the data.
 *
 * @throws {RealtimeError} `INVALID_MESSAGE` when the data cannot be sent as JSON, is larger than 512 KiB,
 *   or does not match the topic's schema as JSON; `UNSUPPORTED` where the Inngest client cannot publish;
 *   `UPSTREAM` when Inngest refuses.
 */
export async function publish(
	inngest: InngestClient,
	registered: readonly ChannelLike[],
	target: PublishTarget,
	data: unknown
): Promise<void> {
	const { channel, topic, schema } = await addressOf(target, data, registered);
	const place = `topic "${topic}" of channel "${channel}"`;
	const json = toJson(data, place);
	if (schema) await validate(schema, { data, json, place });
	const { inngestApi } = inngest as unknown as { inngestApi: PublishApi };
	if (typeof inngestApi.publish !== 'function') {
		throw new RealtimeError(
			'UNSUPPORTED',
			'This version of inngest cannot publish outside of a function; use inngest 3.42 or later.'
		);
	}
	let reason: string | undefined;
	try {
		// Inngest's client posts a text as it is.
		const answer = await inngestApi.publish({ channel, topics: [topic] }, json);
		if (answer.ok) return;
		reason = answer.error?.error;
	} catch (error) {
		reason = String(error);
	}
	throw new RealtimeError(
		'UPSTREAM',
		`Inngest did not take the message for ${place}: ${reason ?? 'no reason given'}.`
	);
}

/** @throws {RealtimeError} `INVALID_MESSAGE` for what JSON cannot express, or Inngest does not take. */
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

/** @throws {RealtimeError} `INVALID_MESSAGE` when the data does not match after it was sent as JSON. */
async function validate(
	schema: StandardSchemaV1,
	{ data, json, place }: { data: unknown; json: string; place: string }
): Promise<void> {
	const mismatch = await mismatchOf(schema, JSON.parse(json));
	if (!mismatch) return;
	const { text, cause } = mismatch;
	if (await mismatchOf(schema, data)) {
		throw invalid(place, `the data does not match the topic's schema: ${text}`, cause);
	}
	throw invalid(
		place,
		`the data matches the topic's schema, but what readers receive does not: ${text}. They receive JSON, in which a Date is a text, NaN is null and a Map is {}. Write the schema for that: z.coerce.date() instead of z.date(), for example`,
		cause
	);
}

/** @returns why readers would not get the data, if they would not. */
async function mismatchOf(
	schema: StandardSchemaV1,
	data: unknown
): Promise<{ text: string; cause: unknown } | undefined> {
	try {
		const result = await schema['~standard'].validate(data);
		if (result.issues) return { text: describe(result.issues[0]), cause: result.issues };
		// Browsers get the output of the schema, as JSON again.
		JSON.stringify(result.value);
		return undefined;
	} catch (error) {
		return { text: String(error), cause: error };
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
