import { backoffMs } from '../../protocol/backoff.js';
import type { EventAnswer } from '../../protocol/event.js';
import { Signal } from '../state/signal.js';
import { attempt, type Post } from './attempt.js';
import { RealtimeEventError } from './error.js';

/** A pending event: its answer or its echo has not arrived. */
export interface PendingEvent {
	id: string;
	/** The sent data, after JSON. */
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
	/** Events in one lane are sent one after another. */
	lane: string;
	post: Post;
	maxPending: number;
	maxAgeMs: number;
	/** Calls back when a message that the handler emitted arrives. @returns a function that stops this. */
	listen(onEcho: () => void): () => void;
	/** Whether such a message arrives here. */
	hasEcho(answer: EventAnswer): boolean;
}

/** Upper bounds of the first and of the longest delay between two attempts, in milliseconds. */
const MIN_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;
/** A browser may be wrong about being offline; after this time, in milliseconds, the request is made anyway. */
const OFFLINE_MS = 10_000;
/**
 * A request without an answer after this time, in milliseconds, is sent again: its connection may be dead. If
 * the handler is running, the new request waits for the same result.
 */
const ATTEMPT_MS = 30_000;
/** How often an event is sent if the app's code fails to handle it. */
const MAX_FAULTS = 3;
/** How long, in milliseconds, an accepted event waits for its echo. */
const ECHO_MS = 5_000;

/**
 * Pending events of a page. Each is sent again, with the same id, until it is answered. Events in one lane
 * are sent one after another. It outlives the components that send.
 */
export class Outbox {
	readonly changes: Signal;
	readonly #lanes = new Map<string, Promise<unknown>>();
	readonly #pending = new Map<string, readonly PendingEvent[]>();
	/** Number of events that are not answered yet. */
	#size = 0;

	constructor(intervalMs: () => number | undefined) {
		this.changes = new Signal(console.error, intervalMs);
	}

	/** Pending events of a name, oldest first; a new list after each change. */
	pending(name: string): readonly PendingEvent[] {
		return this.#pending.get(name) ?? [];
	}

	/** @throws {RealtimeEventError} when the event is refused or too old, or when too many wait. */
	async send(event: OutgoingEvent): Promise<EventAnswer> {
		const { name, id, body, maxPending, maxAgeMs } = event;
		if (this.#size >= maxPending) {
			const text = `${this.#size} events wait already; this one was not sent.`;
			throw new RealtimeEventError('EVENT_QUEUE_FULL', text, { eventId: id });
		}
		this.#size++;
		const { data } = JSON.parse(body) as { data: unknown };
		const entry: PendingEvent = { id, data, createdAt: new Date().toISOString() };
		// An event that is sent twice is listed once: lists are keyed by the id.
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

	/** Runs `work` after all earlier work in the lane. */
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

/** Sends an event until it is answered, or until `signal` aborts because nobody waits any more. */
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
		// 500 comes from the app's code, and another attempt is unlikely to succeed soon.
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
 * Waits. It ends early when the network is back, unless the server asked for the delay.
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
 * Runs a request. It ends when it takes too long, or when the network is back: an open connection may then be
 * dead without noticing.
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
