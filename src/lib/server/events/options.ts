import type { RequestEvent } from '@sveltejs/kit';
import type {
	EmittedMessage,
	EventData,
	EventDefinition,
	EventReturn
} from '../../protocol/event.js';
import type { Jsonify } from '../../protocol/types.js';
import type { RealtimeIdentity } from '../access/identity.js';
import type { RealtimePriority } from '../access/pressure.js';
import type { RateRule } from '../backend/rateLimit.js';

type MaybePromise<T> = T | PromiseLike<T>;

/** The argument of an event's `authorize`. */
export interface RealtimeEventAuthorizeContext {
	locals: App.Locals;
	/** The request that carries it. */
	event: RequestEvent;
	/** Id of the event, chosen by the page. */
	id: string;
	/** The result of `identify`; `null` for an anonymous sender. */
	identity: RealtimeIdentity | null;
	/** The request's header `X-Request-ID`, or a new id if that is missing. */
	requestId: string;
	/** The data as it was sent, not validated yet. */
	data: unknown;
}

/**
 * Runs `fn` once for a key and remembers its result, as JSON. Another call with the same key returns the same
 * result. If two processes call it at the same time, the second waits for the first. If `fn` fails, the key
 * may run again.
 */
export type RealtimeOnce = <T>(
	key: string,
	fn: () => MaybePromise<T>,
	options?: RealtimeOnceOptions
) => Promise<Jsonify<T>>;

/** Options of `once`. */
export interface RealtimeOnceOptions {
	/** How long, in milliseconds, the result is remembered. @default `dedupeMs`, 24 hours */
	ttlMs?: number;
}

/** What the handler of an event gets besides the data. */
export interface RealtimeEventContext<TEmit, TPublish, TInngest> extends Omit<
	RealtimeEventAuthorizeContext,
	'data'
> {
	/** Name of the event. */
	name: string;
	/** `realtime.emit`. What it sends carries the event's id as `clientEventId`. */
	emit: TEmit;
	/** `realtime.publish`. What it publishes carries the event's id as well. */
	publish: TPublish;
	/** The Inngest client of the endpoint. */
	inngest: TInngest;
	/** Aborts when the handler has run for longer than `timeoutMs`, or the endpoint is closed. */
	signal: AbortSignal;
	/** Runs a part of the handler once, even if the handler fails later and runs again. */
	once: RealtimeOnce;
}

/** One entry of `events`. */
export interface RealtimeEventConfig<
	TEvent extends EventDefinition = EventDefinition,
	TContext = never
> {
	/** The definition that the page sends with. */
	event: TEvent;
	/**
	 * Who may send it: only `true` allows it. To refuse, return anything else, or throw SvelteKit's
	 * `error(4xx)` or `RealtimeDenied`, whose text the page sees.
	 */
	authorize: (context: RealtimeEventAuthorizeContext) => MaybePromise<boolean>;
	/**
	 * What the event does, once per id. Without it, the event goes to Inngest as
	 * `inngest.send({ id, name, data, v })`.
	 *
	 * If it throws, the event may be sent again and then runs again: put work that must not happen twice into
	 * `context.once`. SvelteKit's `error()` and `RealtimeDenied` reach the page with their text and status; for
	 * anything else, the page gets a fixed text and 500.
	 */
	run?: (context: TContext, data: EventData<TEvent>) => MaybePromise<EventReturn<TEvent>>;
	/**
	 * Its priority while the process is under pressure (`limits.pressure`): `background` is refused first,
	 * `critical` last. @default 'normal'
	 */
	priority?: RealtimePriority;
	/** How often one sender may send it; beyond that, 429 with `Retry-After`. @default no limit */
	rate?: RateRule;
	/** How many points of `limits.rate` it takes; 0 takes none. @default 1 */
	cost?: number;
	/**
	 * Translates data from old pages: `{ 1: (data) => … }` turns data of version 1 into data of version 2. Data
	 * goes from version to version up to the current one, and is then validated. If a step is missing, the event
	 * is refused with 409, and the page is told to reload.
	 */
	upgrade?: Record<number, (data: never) => unknown>;
	/**
	 * Time limit of `run`, in milliseconds. After that, its `signal` aborts, and the page gets 503 and asks
	 * again until there is an answer: the id does not run again until `run` has settled.
	 *
	 * @default 60_000
	 */
	timeoutMs?: number;
	/** How long, in milliseconds, an id is remembered with its answer. @default 86_400_000 (24 hours) */
	dedupeMs?: number;
}

/** The outcome of an event. */
export type RealtimeEventOutcome =
	/** The handler ran. */
	| 'done'
	/** It was sent to Inngest. */
	| 'queued'
	/** It was refused: `status` says why. */
	| 'refused'
	/** The handler failed, or something that it needs. */
	| 'failed';

/** The argument of `onEvent`. */
export interface RealtimeEventAudit {
	id: string;
	name: string;
	/** Name of the channel that the event belongs to, if it names one. */
	channel?: string;
	/** Who sent it: what ids are scoped to. */
	key: string;
	requestId: string;
	outcome: RealtimeEventOutcome;
	/** HTTP status of the answer. */
	status: number;
	/** Milliseconds from the request until this outcome. */
	durationMs: number;
	/** What the handler emitted. */
	emitted: readonly EmittedMessage[];
	/** The request. */
	event: RequestEvent;
}

/**
 * Called once for each event that ran, was queued, was refused or failed; not for a repeat, which gets the
 * remembered answer. If a handler takes longer than `timeoutMs`, `onFailure` is called at once, and this when
 * the handler has ended. It can neither delay nor break an answer.
 */
export type RealtimeOnEvent = (audit: RealtimeEventAudit) => void;
