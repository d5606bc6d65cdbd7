import type { RequestEvent } from '@sveltejs/kit';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { RealtimeError } from '../../protocol/errors.js';
import {
	eventChannel,
	type EmittedMessage,
	type EventAnswer,
	type EventIssue
} from '../../protocol/event.js';
import type { RealtimePriority } from '../access/pressure.js';
import type { RealtimeIdentity } from '../access/identity.js';
import type { RateLimiter } from '../access/rate.js';
import { failureResponse } from '../failure/answer.js';
import { callApp, CallbackError } from '../failure/callback.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import type { EndpointMeters } from '../metrics/endpointMeters.js';
import { inSpan } from '../runtime/spans.js';
import { hashOf, OnceBusy, OnceConflict, type Once } from './once.js';
import type {
	RealtimeEventConfig,
	RealtimeEventContext,
	RealtimeOnce,
	RealtimeOnEvent
} from './options.js';
import { parseEvent, requestIdOf, type ParsedEvent } from './request.js';

/** Who sent an event. */
export interface Sender {
	identity: RealtimeIdentity | null;
	/** The key that ids and the rates of single events are counted by. */
	key: string;
	/** The key that the endpoint's rate is counted by. */
	address: string | undefined;
}

/** A message that a handler is emitting. */
export interface HandlerEmit {
	/** Id of the event whose handler emits. */
	clientEventId: string;
	/** Called with each message that was published. */
	emitted: (message: EmittedMessage) => void;
}

/** What handling events needs. */
export interface EventsOptions {
	events: Readonly<Record<string, RealtimeEventConfig>>;
	/** Separates the records of this app from those of others in the same backend. */
	app: string;
	once: Once;
	rates: RateLimiter;
	onEvent: RealtimeOnEvent | undefined;
	report: Report;
	callbackTimeoutMs: number;
	/** How long, in milliseconds, an id is remembered, unless its entry says otherwise. */
	dedupeMs: number;
	/** Events that are handled at the same time. */
	maxEvents: number;
	meters: Pick<EndpointMeters, 'events' | 'handling'>;
	/** @throws {Failure} `admission` 503 when the process is under pressure. */
	checkPressure(priority: RealtimePriority | undefined): void;
	/** @throws {Failure} `admission` when the app cannot identify the sender. */
	identify(event: RequestEvent): Promise<Sender>;
	/** The parts of the endpoint that a handler gets. */
	tools(emit: HandlerEmit): { emit: unknown; publish: unknown };
	inngest: unknown;
}

type Context = RealtimeEventContext<unknown, unknown, unknown>;

/** How long, in milliseconds, a request waits for another process that runs the same event. */
const WAIT_MS = 15_000;

/** How long, in milliseconds, a handler may take, unless its entry says otherwise. */
const RUN_TIMEOUT_MS = 60_000;

/** Most messages that a response lists; if there are more, the newest. */
const MAX_EMITTED = 1_000;

/** Most issues that a response lists. */
const MAX_ISSUES = 50;

/** An event on its way through the server. */
interface Visit {
	readonly request: RequestEvent;
	readonly requestId: string;
	readonly startedMs: number;
	readonly parsed: ParsedEvent;
	readonly config: RealtimeEventConfig;
	sender: Sender;
	channel: string | undefined;
	/** Whether `onEvent` is called at another time: by the request that ran it, or when that has ended. */
	isHeardElsewhere: boolean;
}

/**
 * Handles the events that pages send: rate limit, authorization, validation, and one run per id. Owned by
 * its endpoint, ended by `close`.
 */
export class Events {
	readonly #options: EventsOptions;
	/** By the name of the event. A map, so that names like `constructor` are safe. */
	readonly #configs = new Map<string, RealtimeEventConfig>();
	readonly #running = new Set<AbortController>();
	#handling = 0;

	constructor(options: EventsOptions) {
		this.#options = options;
		for (const config of Object.values(options.events)) {
			this.#configs.set(config.event.name, config);
		}
	}

	/** Answers a POST that sends an event. Never rejects. */
	handle(request: RequestEvent, body: { event: unknown }): Promise<Response> {
		return inSpan('realtime.event receive', {}, async (span) => {
			const response = await this.#receive(request, body);
			span?.setAttribute('http.response.status_code', response.status);
			return response;
		});
	}

	async #receive(request: RequestEvent, body: { event: unknown }): Promise<Response> {
		const startedMs = performance.now();
		const requestId = requestIdOf(request.request);
		let visit: Visit | undefined;
		this.#handling++;
		try {
			this.#checkRoom();
			const parsed = parseEvent(body);
			const config = this.#configs.get(parsed.name);
			if (!config) throw new Failure('event-validation', 400, 'Unknown event');
			const sender = { identity: null, key: '', address: undefined };
			visit = {
				request,
				requestId,
				startedMs,
				parsed,
				config,
				sender,
				channel: undefined,
				isHeardElsewhere: false
			};
			return answer(await this.#answer(visit), requestId);
		} catch (error) {
			return this.#refuse(error, request, requestId, visit);
		} finally {
			this.#handling--;
		}
	}

	/** `realtime.once`. */
	readonly once: RealtimeOnce = (key, fn, options) =>
		this.#once(['once', key], fn, options?.ttlMs ?? this.#options.dedupeMs);

	/** Asks running handlers to stop. */
	close(): void {
		for (const controller of this.#running) controller.abort(closing());
	}

	/** @throws {Failure} `admission` 503. */
	#checkRoom(): void {
		if (this.#handling <= this.#options.maxEvents) return;
		throw new Failure('admission', 503, TEXT.eventsBusy, {
			headers: retryAfter(1 + Math.random() * 4)
		});
	}

	/** @returns JSON of the answer. */
	async #answer(visit: Visit): Promise<string> {
		const { parsed, config, request } = visit;
		this.#options.checkPressure(config.priority);
		visit.sender = await this.#options.identify(request);
		await this.#checkRate(visit);
		await inSpan('realtime.event authorize', attributesOf(parsed), () => this.#authorize(visit));
		const data = await this.#validate(visit);
		return this.#runOnce(visit, data);
	}

	/** Runs the event, unless its id has run. @returns JSON of the answer. */
	async #runOnce(visit: Visit, data: unknown): Promise<string> {
		const { parsed, config } = visit;
		const controller = new AbortController();
		this.#running.add(controller);
		let hasRun = false;
		let isLate = false;
		let answer: EventAnswer | undefined;
		const run = {
			hash: await hashOf(parsed.text),
			ttlMs: config.dedupeMs ?? this.#options.dedupeMs,
			waitMs: WAIT_MS,
			timeoutMs: config.timeoutMs ?? RUN_TIMEOUT_MS,
			onLate: (result: Promise<string | undefined>): void => {
				isLate = true;
				result.then(
					(json) => json !== undefined && this.#audit(visit, answer!.status, 200, answer!.emitted),
					(error) => {
						visit.isHeardElsewhere = false;
						this.#refuse(runFailure(error), visit.request, visit.requestId, visit);
					}
				);
			}
		};
		try {
			const { json, isRepeat } = await this.#options.once.run(
				this.#eventKey(visit),
				run,
				async () => {
					hasRun = true;
					answer = await inSpan('realtime.event run', attributesOf(parsed), () =>
						this.#run(visit, data, controller.signal)
					);
					return toJson(answer, `What the handler of event "${parsed.name}" returned`);
				}
			);
			// Only the request that ran it is reported; a repeat is nothing new.
			if (!isRepeat) this.#audit(visit, answer!.status, 200, answer!.emitted);
			return json;
		} catch (error) {
			controller.abort(error);
			visit.isHeardElsewhere =
				isLate || error instanceof OnceBusy || (!hasRun && !hasNotBegun(error));
			throw runFailure(error);
		} finally {
			this.#running.delete(controller);
		}
	}

	/** @throws {Failure} `admission` 429 when it sends too much, or is blocked. */
	async #checkRate({ config: { event, rate, cost }, sender }: Visit): Promise<void> {
		const { rates } = this.#options;
		await rates.check('event', sender.address, cost);
		if (rate) await rates.check(`event ${event.name}`, sender.key, 1, rate);
	}

	/** @throws {Failure} `event-authorization`. */
	async #authorize({ config, parsed, request, requestId, sender }: Visit): Promise<void> {
		const texts = { denied: TEXT.eventDenied, fault: TEXT.eventUnchecked };
		let allowed: unknown;
		try {
			allowed = await callApp('authorize', this.#options.callbackTimeoutMs, () =>
				config.authorize({
					locals: request.locals,
					event: request,
					id: parsed.id,
					identity: sender.identity,
					requestId,
					data: parsed.data
				})
			);
		} catch (error) {
			throw (error as CallbackError).asFailure('event-authorization', texts);
		}
		if (allowed !== true) throw new Failure('event-authorization', 403, texts.denied);
	}

	/**
	 * @returns the output of the event's schema.
	 * @throws {Failure} `event-validation`: 409 for an unknown version, 422 for data that does not match.
	 */
	async #validate(visit: Visit): Promise<unknown> {
		const { parsed, config } = visit;
		const input = upgraded(config, parsed);
		let result: StandardSchemaV1.Result<unknown>;
		try {
			visit.channel = eventChannel(config.event, input);
		} catch {
			// Data that does not match may name no channel.
		}
		try {
			result = await callApp('schema', this.#options.callbackTimeoutMs, () =>
				config.event.schema['~standard'].validate(input)
			);
		} catch (error) {
			const texts = { denied: TEXT.eventInvalid, fault: TEXT.eventUnchecked };
			throw (error as CallbackError).asFailure('event-validation', texts, 500);
		}
		if (!result.issues) return result.value;
		throw new Failure('event-validation', 422, TEXT.eventInvalid, {
			body: { issues: result.issues.slice(0, MAX_ISSUES).map(plainIssue) }
		});
	}

	async #run(visit: Visit, data: unknown, signal: AbortSignal): Promise<EventAnswer> {
		const { config, parsed, request, requestId, sender } = visit;
		const { id, name } = parsed;
		if (!config.run) {
			await this.#queue(visit, data);
			return { id, status: 'queued', emitted: [] };
		}
		const emitted: EmittedMessage[] = [];
		const context: Context = {
			locals: request.locals,
			event: request,
			id,
			name,
			identity: sender.identity,
			requestId,
			inngest: this.#options.inngest,
			signal,
			once: (part, fn, options) =>
				this.#once(
					['part', this.#eventKey(visit), part],
					fn,
					options?.ttlMs ?? config.dedupeMs ?? this.#options.dedupeMs
				),
			...(this.#options.tools({
				clientEventId: id,
				emitted(message) {
					emitted.push(message);
					if (emitted.length > MAX_EMITTED) emitted.shift();
				}
			}) as Pick<Context, 'emit' | 'publish'>)
		};
		// Callers that wait for it have their own time limit.
		const returned = await callApp('run', false, () =>
			config.run!(context as never, data as never)
		);
		const result = await resultOf(config, returned);
		return { id, status: 'done', ...(result !== undefined && { result }), emitted };
	}

	/** Gives the event to Inngest. */
	async #queue({ config, parsed, sender }: Visit, data: unknown): Promise<void> {
		const { send } = this.#options.inngest as { send?: (payload: unknown) => Promise<unknown> };
		if (typeof send !== 'function') {
			const text = `Event "${parsed.name}" has no \`run\`, and \`inngest\` cannot send events.`;
			throw new RealtimeError('UNSUPPORTED', text);
		}
		try {
			await send.call(this.#options.inngest, {
				// Inngest drops an event whose id it knows, even from another sender.
				id: `${(await hashOf(sender.key)).slice(0, 16)}:${parsed.id}`,
				name: parsed.name,
				data,
				v: String(config.event.version)
			});
		} catch (cause) {
			throw new Failure('event', 503, TEXT.eventQueue, { cause, headers: retryAfter(1) });
		}
	}

	/** @param parts The last one is the app's own key. */
	async #once(parts: string[], fn: () => unknown, ttlMs: number): Promise<never> {
		const key = parts.at(-1);
		if (typeof key !== 'string' || key === '') {
			const text = `\`once\` needs a key that is a text, not ${JSON.stringify(key)}: nothing was run.`;
			throw new RealtimeError('INVALID_OPTION', text);
		}
		const run = { hash: '', ttlMs };
		const { json } = await this.#options.once.run(this.#key(...parts), run, async () =>
			toJson(await fn(), `What \`once\` was to remember for the key "${key}"`)
		);
		return (json === '' ? undefined : JSON.parse(json)) as never;
	}

	/** Each sender has its own ids: nobody can use up or read those of another. */
	#eventKey({ parsed, sender }: Visit): string {
		return this.#key('id', sender.key, parsed.id);
	}

	#key(...parts: string[]): string {
		return JSON.stringify([this.#options.app, ...parts]);
	}

	#refuse(
		error: unknown,
		event: RequestEvent,
		requestId: string,
		visit: Visit | undefined
	): Response {
		const failure =
			error instanceof Failure
				? error
				: new Failure('event', 500, TEXT.eventFailed, { cause: error });
		const message = this.#options.report(failure, {
			event,
			requestId,
			...(visit && { eventName: visit.parsed.name, eventId: visit.parsed.id }),
			...(visit?.channel !== undefined && { channelId: visit.channel })
		});
		const { status } = failure;
		if (!visit) this.#options.meters.events.of('other', 'refused').value++;
		else if (!visit.isHeardElsewhere) {
			this.#audit(visit, status < 500 ? 'refused' : 'failed', status, []);
		}
		const response = failureResponse(failure, message);
		response.headers.set('x-request-id', requestId);
		return response;
	}

	#audit(
		{ request, requestId, startedMs, parsed, sender, channel }: Visit,
		outcome: Parameters<RealtimeOnEvent>[0]['outcome'],
		status: number,
		emitted: readonly EmittedMessage[]
	): void {
		const { onEvent, callbackTimeoutMs, meters } = this.#options;
		const durationMs = performance.now() - startedMs;
		meters.events.of(parsed.name, outcome).value++;
		meters.handling.of(parsed.name).observe(durationMs / 1_000);
		if (!onEvent) return;
		const fail = (error: unknown): void =>
			console.error(
				'[sveltekit-inngest] onEvent failed; the event was answered without it.',
				error
			);
		const { id, name } = parsed;
		try {
			const heard: unknown = callApp('onEvent', callbackTimeoutMs, () =>
				onEvent({
					id,
					name,
					...(channel !== undefined && { channel }),
					key: sender.key,
					requestId,
					outcome,
					status,
					durationMs,
					emitted,
					event: request
				})
			);
			void Promise.resolve(heard).catch(fail);
		} catch (error) {
			fail(error);
		}
	}
}

/**
 * Brings data to the current version.
 *
 * @throws {Failure} `event-validation` 409 when no `upgrade` leads there, 422 when an `upgrade` rejects the
 *   data.
 */
function upgraded(
	{ event, upgrade = {} }: RealtimeEventConfig,
	{ data, version }: ParsedEvent
): unknown {
	let input = data;
	for (let from = version ?? event.version; from !== event.version; from++) {
		const step = Object.hasOwn(upgrade, from) ? upgrade[from] : undefined;
		if (!step) {
			throw new Failure('event-validation', 409, TEXT.eventOutdated, {
				body: { reason: 'outdated', version: event.version }
			});
		}
		try {
			input = step(input as never);
		} catch (cause) {
			throw new Failure('event-validation', 422, TEXT.eventInvalid, {
				cause,
				callback: 'upgrade',
				body: { issues: [{ message: `Data of version ${from} could not be read`, path: [] }] }
			});
		}
	}
	return input;
}

/** The part of a handler's result that the page gets. */
async function resultOf({ event }: RealtimeEventConfig, returned: unknown): Promise<unknown> {
	if (!event.result) return returned;
	const result = await event.result['~standard'].validate(returned);
	if (!result.issues) return result.value;
	const { message, path } = plainIssue(result.issues[0]!);
	const where = path.length > 0 ? ` (at ${path.join('.')})` : '';
	throw new RealtimeError(
		'INVALID_MESSAGE',
		`The handler of event "${event.name}" returned something that its \`result\` does not allow: ${message}${where}.`
	);
}

function plainIssue({ message, path = [] }: StandardSchemaV1.Issue): EventIssue {
	return {
		message,
		path: path
			.map((part) => (typeof part === 'object' ? part.key : part))
			.map((key) => (typeof key === 'symbol' ? String(key) : key))
	};
}

/**
 * The app's result as JSON, empty for `undefined`.
 *
 * @throws {RealtimeError} `INVALID_MESSAGE` when it has none.
 */
function toJson(value: unknown, what: string): string {
	try {
		return JSON.stringify(value) ?? '';
	} catch (cause) {
		const why = cause instanceof Error ? cause.message : String(cause);
		throw new RealtimeError('INVALID_MESSAGE', `${what} cannot be JSON: ${why}`, { cause });
	}
}

/** Whether the event did not run: its id is used for another event, or the backend is unavailable. */
function hasNotBegun(error: unknown): boolean {
	return (
		error instanceof OnceConflict || (error instanceof RealtimeError && error.code === 'BACKEND')
	);
}

/** The failure to report for a run that failed. */
function runFailure(error: unknown): Failure {
	if (error instanceof Failure) return error;
	if (error instanceof OnceConflict) {
		return new Failure('event-validation', 409, TEXT.eventConflict, {
			body: { reason: 'conflict' }
		});
	}
	if (error instanceof OnceBusy) {
		return new Failure('event', 503, TEXT.eventRunning, { headers: retryAfter(1) });
	}
	const cause = error instanceof CallbackError ? error.cause : error;
	const code = cause instanceof RealtimeError ? cause.code : undefined;
	if (code === 'CALLBACK_TIMEOUT' || code === 'BACKEND') {
		const text = code === 'BACKEND' ? TEXT.eventStore : TEXT.eventRunning;
		return new Failure('event', 503, text, {
			cause,
			headers: retryAfter(1),
			...(code === 'CALLBACK_TIMEOUT' && { callback: 'run' })
		});
	}
	if (error instanceof CallbackError) {
		return error.asFailure('event', { denied: TEXT.eventDenied, fault: TEXT.eventFailed }, 500);
	}
	return new Failure('event', 500, TEXT.eventFailed, { cause });
}

function answer(json: string, requestId: string): Response {
	return new Response(json, {
		headers: {
			'content-type': 'application/json',
			'cache-control': 'no-store',
			'x-request-id': requestId
		}
	});
}

function attributesOf({ name, id }: ParsedEvent): Record<string, string> {
	return { 'realtime.event.name': name, 'realtime.event.id': id };
}

function retryAfter(seconds: number): Record<string, string> {
	return { 'retry-after': String(Math.max(1, Math.ceil(seconds))) };
}

function closing(): RealtimeError {
	return new RealtimeError('CLOSED', 'This realtime endpoint was closed.');
}
