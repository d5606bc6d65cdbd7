import { backoffMs } from '../../protocol/backoff.js';
import type { EventAnswer } from '../../protocol/event.js';
import { Signal } from '../state/signal.js';
import { attempt, type Post } from './attempt.js';
import { RealtimeEventError } from './error.js';

/** An event that is on its way, or whose echo is. */
export interface PendingEvent {
	id: string;
	/** What was sent, after JSON. */
	data: unknown;
	/** When it was sent, ISO 8601. */
	createdAt: string;
}

/** An event to be sent. */
export interface OutgoingEvent {
	/** Name of the event. */
	name: string;
	id: string;
	/** JSON of the request. */
	body: string;
	/** Events of one lane go one after another. */
	lane: string;
	post: Post;
	maxPending: number;
	maxAgeMs: number;
	/** Calls back when a message that the handler emitted arrives. @returns a function that ends it. */
	listen(onEcho: () => void): () => void;
	/** Whether such a message arrives here. */
	hasEcho(answer: EventAnswer): boolean;
}

/** Ceilings of the first and of the longest delay between two attempts, in milliseconds. */
const MIN_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;
/** A browser may be wrong about being offline; after this time, in milliseconds, the request is made anyway. */
const OFFLINE_MS = 10_000;
/**
 * A request that has no answer after this time, in milliseconds, is sent again: its line may be dead. Where
 * the handler runs, the new one waits for the same result.
 */
const ATTEMPT_MS = 30_000;
/** How often an event is sent that the app's own code fails at. */
const MAX_FAULTS = 3;
/** How long, in milliseconds, an accepted event waits for its echo. */
const ECHO_MS = 5_000;

/**
 * Events that a page sends, on their way. Each is tried again, with the same id, until it is answered; the
 * events of one lane go one after another. Outlives the components that send.
 */
export class Outbox {
	readonly changes: Signal;
	readonly #lanes = new Map<string, Promise<unknown>>();
	readonly #pending = new Map<string, readonly PendingEvent[]>();
	/** Events that are not answered yet. */
	#size = 0;

	constructor(intervalMs: () => number | undefined) {
		this.changes = new Signal(console.error, intervalMs);
	}

	/** Events of a name that are on their way, oldest first; another list after each change. */
	pending(name: string): readonly PendingEvent[] {
		return this.#pending.get(name) ?? [];
	}

	/** @throws {RealtimeEventError} when it is refused, too old, or one too many. */
	async send(event: OutgoingEvent): Promise<EventAnswer> {
		const { name, id, body, maxPending, maxAgeMs } = event;
		if (this.#size >= maxPending) {
			const text = `${this.#size} events wait already, as many as may; this one was not sent.`;
			throw new RealtimeEventError('EVENT_QUEUE_FULL', text, { eventId: id });
		}
		this.#size++;
		const { data } = JSON.parse(body) as { data: unknown };
		const entry: PendingEvent = { id, data, createdAt: new Date().toISOString() };
		// One that is sent twice is listed once: lists are keyed by the id.
		if (this.pending(name).every((other) => other.id !== id)) {
			this.#set(name, [...this.pending(name), entry]);
		}
		const end = new AbortController();
		const { signal } = end;
		let echoTimer: ReturnType<typeof setTimeout> | undefined;
		const drop = (): void => {
			clearTimeout(echoTimer);
			stopListening();
			this.#set(
				name,
				this.pending(name).filter((other) => other !== entry)
			);
		};
		const stopListening = event.listen(drop);
		const timer = setTimeout(() => end.abort(), maxAgeMs);
		try {
			const answer = await new Promise<EventAnswer>((resolve, reject) => {
				let last: RealtimeEventError | undefined;
				signal.addEventListener('abort', () => reject(expired(event, last)));
				this.#inLane(event.lane, () => deliver(event, signal, (failure) => (last = failure))).then(
					resolve,
					reject
				);
			});
			const waits = event.hasEcho(answer) && this.pending(name).includes(entry);
			if (waits) echoTimer = setTimeout(drop, ECHO_MS);
			else drop();
			return answer;
		} catch (error) {
			drop();
			throw error;
		} finally {
			clearTimeout(timer);
			this.#size--;
		}
	}

	/** Runs `work` after everything that came into the lane before. */
	async #inLane<T>(lane: string, work: () => Promise<T>): Promise<T> {
		const before = this.#lanes.get(lane);
		const turn = (async () => {
			await before;
			return work();
		})();
		const done = turn.catch(() => {});
		this.#lanes.set(lane, done);
		try {
			return await turn;
		} finally {
			if (this.#lanes.get(lane) === done) this.#lanes.delete(lane);
		}
	}

	#set(name: string, pending: readonly PendingEvent[]): void {
		if (pending.length > 0) this.#pending.set(name, pending);
		else this.#pending.delete(name);
		this.changes.emit();
	}
}

function expired({ id, maxAgeMs }: OutgoingEvent, last?: RealtimeEventError): RealtimeEventError {
	const text = `The event was not answered within ${maxAgeMs / 1000} s; it is not tried again. ${last?.message ?? ''}`;
	return new RealtimeEventError('EVENT_EXPIRED', text, { eventId: id, cause: last });
}

/** Sends an event until it is answered, or `signal` aborts: then nobody waits any more. */
async function deliver(
	{ id, body, post }: OutgoingEvent,
	signal: AbortSignal,
	onFailure: (failure: RealtimeEventError) => void
): Promise<EventAnswer> {
	let faults = 0;
	let waitMs = isOffline() ? OFFLINE_MS : 0;
	let isAsked = false;
	for (let failures = 0; ; failures++) {
		await pause(waitMs, isAsked, signal);
		signal.throwIfAborted();
		const outcome = await limited(signal, (ended) => attempt(id, body, post, ended));
		if ('answer' in outcome) return outcome.answer;
		const { failure, isFinal, retryAfterMs = 0 } = outcome;
		// 500 comes from the app's own code, and is unlikely to succeed soon.
		if (failure.status === 500) faults++;
		if (isFinal || faults === MAX_FAULTS) throw failure;
		onFailure(failure);
		isAsked = retryAfterMs > 0;
		waitMs = Math.max(retryAfterMs, backoffMs(failures, MIN_DELAY_MS, MAX_DELAY_MS));
	}
}

function isOffline(): boolean {
	return globalThis.navigator?.onLine === false;
}

/**
 * Waits; the network's return ends it early, unless the server asked for the time.
 *
 * @param isAsked Whether the server did.
 */
function pause(ms: number, isAsked: boolean, signal: AbortSignal): Promise<void> {
	if (ms === 0 || signal.aborted) return Promise.resolve();
	return new Promise((resolve) => {
		const done = (): void => {
			clearTimeout(timer);
			globalThis.removeEventListener?.('online', done);
			signal.removeEventListener('abort', done);
			resolve();
		};
		const timer = setTimeout(done, ms);
		if (!isAsked) globalThis.addEventListener?.('online', done);
		signal.addEventListener('abort', done);
	});
}

/**
 * Runs a request that ends when it takes too long, or when the network is back: what was open then may be
 * dead and not know it.
 */
async function limited<T>(
	signal: AbortSignal,
	request: (ended: AbortSignal) => Promise<T>
): Promise<T> {
	const end = new AbortController();
	const abort = (): void => end.abort();
	const timer = setTimeout(abort, ATTEMPT_MS);
	globalThis.addEventListener?.('online', abort);
	signal.addEventListener('abort', abort);
	try {
		return await request(end.signal);
	} finally {
		clearTimeout(timer);
		globalThis.removeEventListener?.('online', abort);
		signal.removeEventListener('abort', abort);
	}
}
