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

/** What `authorize` of an event is given. */
export interface RealtimeEventAuthorizeContext {
	locals: App.Locals;
	/** The request that carries it. */
	event: RequestEvent;
	/** Id of the event, as the page made it. */
	id: string;
	/** What `identify` said; `null` for a sender without a name. */
	identity: RealtimeIdentity | null;
	/** From the request's header `X-Request-ID`; made where that is missing. */
	requestId: string;
	/** What was sent, not validated yet. */
	data: unknown;
}

/**
 * Runs `fn` once for a key, and remembers what it returned, as JSON. Called again it returns the same; at
 * the same time in two processes, the second waits for the first. When `fn` fails, the key may run again.
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

/** What the handler of an event is given besides the data. */
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
	/** Runs a part of the handler once, also when the handler fails later and is tried again. */
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
	 * Who may send it: `true` lets it pass. To refuse, return anything else, or throw SvelteKit's
	 * `error(4xx)` or `RealtimeDenied`, whose text the page sees.
	 */
	authorize: (context: RealtimeEventAuthorizeContext) => MaybePromise<boolean>;
	/**
	 * What the event does, once per id. Without it, the event goes to Inngest as
	 * `inngest.send({ id, name, data, v })`.
	 *
	 * When it throws, the event may be sent again and then runs again: put what must not happen twice
	 * into `context.once`. SvelteKit's `error()` and `RealtimeDenied` reach the page with their text and
	 * status; of anything else it sees a fixed text and 500.
	 */
	run?: (context: TContext, data: EventData<TEvent>) => MaybePromise<EventReturn<TEvent>>;
	/**
	 * How long it is taken while the process is under pressure (`limits.pressure`): `background` is refused
	 * first, `critical` last. @default 'normal'
	 */
	priority?: RealtimePriority;
	/** How often one sender may send it; past that 429 with `Retry-After`. @default no limit */
	rate?: RateRule;
	/** What it takes of the points of `limits.rate`; 0 does not count. @default 1 */
	cost?: number;
	/**
	 * Translates what old pages send: `{ 1: (data) => … }` makes data of version 2 from that of version 1.
	 * Data goes from version to version until it is of the present one, and is validated then. What has
	 * no way there is refused with 409, and the page is told to reload.
	 */
	upgrade?: Record<number, (data: never) => unknown>;
	/**
	 * How long, in milliseconds, `run` may take. Past that its `signal` aborts, the page is told 503 and asks
	 * again, and gets the answer as soon as there is one: the id does not run again until `run` has settled.
	 *
	 * @default 60_000
	 */
	timeoutMs?: number;
	/** How long, in milliseconds, an id is remembered with its answer. @default 86_400_000 (24 hours) */
	dedupeMs?: number;
}

/** What became of an event. */
export type RealtimeEventOutcome =
	/** The handler ran. */
	| 'done'
	/** Inngest has it. */
	| 'queued'
	/** It was refused: `status` says why. */
	| 'refused'
	/** The handler, or what it needs, failed. */
	| 'failed';

/** What `onEvent` hears. */
export interface RealtimeEventAudit {
	id: string;
	name: string;
	/** Name of the channel that the event belongs to, where it says so. */
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
 * Called once for each event that ran, was queued, was refused or failed; not for a repeat, which is
 * answered with what is remembered. Of a handler that takes longer than `timeoutMs` it hears what became
 * of it in the end; that it is late, `onFailure` hears at once. It cannot hold an answer up or break it.
 */
export type RealtimeOnEvent = (audit: RealtimeEventAudit) => void;
