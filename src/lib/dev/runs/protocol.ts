import { parseRetryAfter } from '../duration.js';
import { DEV_ACCOUNT_ID, ulid } from '../ids.js';
import { post } from '../post.js';
import { traceHeaders } from '../trace.js';
import type { PostAnswer } from '../post.js';
import type { DevEvent } from '../events.js';
import { readOpcodes } from './opcode.js';
import type { Opcode } from './opcode.js';
import type { Job, Run, RunError } from './run.js';

const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
const MAX_UPSTREAM_BODY = 8_192;

/** The result of one call of the app. */
export type CallResult = {
	noRetry: boolean;
	retryAt?: number;
	requestVersion: number;
	/** Whether no SDK answered: the app is unavailable, or something in front of it answered. */
	isAway?: boolean;
} & (
	| { kind: 'opcodes'; opcodes: Opcode[] }
	| { kind: 'output'; output: unknown }
	| { kind: 'error'; error: RunError; output: unknown }
);

/**
 * Calls the app for a job. Never throws: whatever goes wrong is a failed attempt.
 *
 * @param fnUrl Where the function is served now.
 */
export async function callApp(run: Run, job: Job, fnUrl: string): Promise<CallResult> {
	const url = new URL(fnUrl);
	const stepId = job.stepId ?? 'step';
	url.searchParams.set('stepId', stepId);
	const requestId = ulid();
	try {
		const answer = await post(url.href, JSON.stringify(body(run, job, requestId)), {
			headers: {
				'content-type': 'application/json',
				'account-id': DEV_ACCOUNT_ID,
				'x-run-id': run.id,
				'x-request-id': requestId,
				'x-inngest-generation-id': String(job.attempt + 1),
				'x-inngest-job-id': job.id,
				'x-inngest-req-version': String(run.requestVersion),
				'x-inngest-step-id': stepId,
				...traceHeaders(run.trace, run.fn)
			},
			signal: run.signal,
			maxBytes: MAX_ANSWER_BYTES
		});
		return readAnswer(answer);
	} catch (error) {
		const isAway = (error as NodeJS.ErrnoException).code !== undefined;
		const { message } = error as Error;
		const failure = plainError(isAway ? `Unable to reach SDK URL: ${message}` : message);
		const output = isAway ? failure : { error: failure };
		return failed(failure, output, { noRetry: false, requestVersion: 0, isAway });
	}
}

/** An event as functions receive it. */
export function eventBody({ id, name, data, ts, user, v }: DevEvent): Record<string, unknown> {
	return { data, id, name, ts, user, ...(v ? { v } : {}) };
}

/** An event as expressions see it. */
export function expressionBody(event: DevEvent): Record<string, unknown> {
	return { ...eventBody(event), data: event.data ?? {} };
}

/** An error of the engine itself. */
export function plainError(message: string, name = 'Error'): RunError {
	return { error: message, name, message };
}

function body(run: Run, job: Job, requestId: string): unknown {
	const event = eventBody(run.event);
	const steps = run.stack.map((id) => [id, JSON.parse(run.steps.get(id)!) as unknown]);
	return {
		event,
		events: [event],
		steps: Object.fromEntries(steps) as Record<string, unknown>,
		defers: {},
		ctx: {
			fn_id: run.fn.uuid,
			run_id: run.id,
			env: '',
			step_id: 'step',
			attempt: job.attempt,
			max_attempts: run.fn.retries + 1,
			stack: { stack: run.stack, current: run.stack.indexOf(job.after) + 1 },
			qi_id: job.id,
			request_id: requestId,
			generation_id: job.attempt + 1,
			job_id: job.id,
			disable_immediate_execution: run.forceStepPlan,
			use_api: false
		},
		version: run.requestVersion,
		use_api: false
	};
}

function readAnswer(answer: PostAnswer): CallResult {
	const { status, headers, text } = unwrapStream(answer);
	const sdk = headers['x-inngest-sdk'] !== undefined;
	const retryAt = headers['retry-after'] ? parseRetryAfter(headers['retry-after']) : undefined;
	const common = {
		noRetry: headers['x-inngest-no-retry'] === 'true',
		requestVersion: Number(headers['x-inngest-req-version']) || 0,
		...(retryAt === undefined ? {} : { retryAt })
	};
	if (status >= 200 && status < 300 && !sdk) {
		const error = plainError('The response did not come from an Inngest SDK', 'not_sdk');
		return failed(error, status === 206 ? '' : text, { ...common, isAway: true });
	}
	if (status === 206) {
		const opcodes = readOpcodes(JSON.parse(text), common.noRetry);
		return { kind: 'opcodes', opcodes, ...common };
	}
	const output = parseOutput(text);
	if (status >= 200 && status < 300 && !common.noRetry && retryAt === undefined) {
		return { kind: 'output', output, ...common };
	}
	if (!sdk) {
		const error = upstreamError(status, text, headers['content-type']);
		return failed(error, error, { ...common, isAway: true });
	}
	const fallback = common.noRetry ? 'NonRetriableError' : `invalid status code: ${status}`;
	return failed(thrownError(output, fallback), output, common);
}

function failed(
	error: RunError,
	output: unknown,
	common: Pick<CallResult, 'noRetry' | 'retryAt' | 'requestVersion' | 'isAway'>
): CallResult {
	return { kind: 'error', error, output: output ?? error, ...common };
}

/** A streamed answer (201) carries its real status, headers and body inside. */
function unwrapStream({ status, headers, body }: PostAnswer): {
	status: number;
	headers: Record<string, string | undefined>;
	text: string;
} {
	const flat = Object.fromEntries(
		Object.entries(headers).map(([name, value]) => [name, value?.toString()])
	);
	const text = body.toString('utf8');
	if (status !== 201) return { status, headers: flat, text };
	const stream = JSON.parse(text) as {
		status: number;
		headers?: Record<string, string>;
		body: unknown;
		error?: string;
	};
	if (stream.error) throw new Error(stream.error);
	for (const [name, value] of Object.entries(stream.headers ?? {}))
		flat[name.toLowerCase()] = value;
	const inner = typeof stream.body === 'string' ? stream.body : JSON.stringify(stream.body);
	return { status: stream.status, headers: flat, text: inner };
}

function parseOutput(text: string): unknown {
	if (text === '') return null;
	try {
		const value: unknown = JSON.parse(text);
		// The body may have been encoded twice.
		if (typeof value !== 'string' || !/^\{.*\}$/s.test(value)) return value;
		return JSON.parse(value);
	} catch {
		return text;
	}
}

/** The error that an SDK reports: the output itself, or its field `error` or `body`. */
function thrownError(output: unknown, fallback: string): RunError {
	const fields = errorFields(output);
	const text = (key: string): string | undefined => {
		const value = fields[key];
		return typeof value === 'string' && value !== '' ? value : undefined;
	};
	const stack = text('stack');
	return {
		error: text('error') ?? fallback,
		name: text('name') ?? 'Error',
		message: text('message') ?? fallback,
		...(stack ? { stack } : {}),
		...('cause' in fields ? { cause: fields.cause } : {})
	};
}

function errorFields(output: unknown): Record<string, unknown> {
	if (typeof output !== 'object' || output === null) {
		return output === null || output === '' ? {} : { message: output };
	}
	const fields = output as Record<string, unknown>;
	for (const key of ['error', 'body']) {
		const inner = typeof fields[key] === 'string' ? parseOutput(fields[key]) : fields[key];
		if (typeof inner === 'object' && inner !== null) return inner as Record<string, unknown>;
	}
	return fields;
}

/**
 * The error for an answer that is not from an SDK: from a proxy, a crash, or a development server that
 * restarts.
 */
function upstreamError(
	status: number,
	text: string,
	contentType = 'unknown content-type'
): RunError {
	const message = `Your server returned HTTP ${status} before the SDK responded.`;
	const detail =
		'No step output was produced before the request failed — this can mean a proxy or load balancer in front of your app returned an error, or your app was unable to respond.';
	const shown =
		text.length > MAX_UPSTREAM_BODY ? text.slice(0, MAX_UPSTREAM_BODY) + '\n… (truncated)' : text;
	return {
		...plainError(message, 'Server returned a fatal error'),
		stack: text ? `${detail}\n\nUpstream response (${contentType}):\n${shown}` : detail
	};
}
