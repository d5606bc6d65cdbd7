import { RealtimeError } from '../../protocol/errors.js';
import type { RealtimeSource, SourceListener, SourceState, TokenCounts } from '../hub/source.js';
import { detached } from '../runtime/context.js';
import { afterInput } from '../runtime/runtime.js';
import { Listeners } from './listeners.js';
import { fitsFrame, MAX_SENT_BYTES, MAX_URL_TOKEN_BYTES } from './pieces.js';
import { Retry } from './retry.js';
import type { Session, SessionOptions } from './session.js';
import { Sockets } from './sockets.js';

/** A socket that lived this long, in milliseconds, resets the count of failed attempts. */
const STABLE_MS = 10_000;

/** Most topics of one listener. */
const MAX_TOPICS = 1_000;

/**
 * Keeps the topics of the sockets equal to the topics that are listened to. Everything happens in one loop,
 * so that after any order of adding and dropping, a topic ends up in the state that was requested last. Owned
 * by a hub, ended by `close`.
 */
export class Upstream implements RealtimeSource {
	readonly name = 'inngest';
	readonly #listeners = new Listeners();
	readonly #options: SessionOptions;
	readonly #sockets: Sockets;
	readonly #retry = new Retry(() => this.#reconcile());
	#attempt: AbortController | undefined;
	#scheduled = false;
	#again = false;
	#closed = false;

	/** @param onDrop Called for each frame that cannot be understood. */
	constructor(options: SessionOptions, onDrop: () => void) {
		this.#options = options;
		this.#sockets = new Sockets(options, {
			message: (message) => this.#listeners.deliver(message),
			gap: (channels) => this.#listeners.announceGap(channels),
			closing: (session, error) => this.#onClosing(session, error),
			closed: (session, error) => this.#onClosed(session, error),
			oldClosed: (error) => this.#onOldClosed(error),
			dropped: onDrop
		});
	}

	get state(): SourceState {
		if (this.#closed) return 'closed';
		if (this.#sockets.current) return 'open';
		if (this.#attempt) return 'connecting';
		return this.#listeners.size === 0 ? 'idle' : 'waiting';
	}

	get sockets(): number {
		return this.#sockets.count;
	}

	get connections(): number {
		return this.#sockets.opened;
	}

	get tokens(): TokenCounts {
		return this.#options.client.counts;
	}

	listen(listener: SourceListener): () => void {
		const error = unacceptable(listener);
		if (error) {
			detached(() => afterInput(() => listener.failed(error)));
			return () => {};
		}
		const remove = this.#listeners.add(listener);
		this.#reconcile();
		return () => {
			remove();
			if (this.#listeners.size > 0) this.#reconcile();
			else detached(() => afterInput(() => this.#endIfIdle()));
		};
	}

	close(): void {
		this.#closed = true;
		this.#listeners.clear();
		this.#endIfIdle();
	}

	/** Starts the loop: soon, and only one run at a time. */
	#reconcile(): void {
		this.#again = true;
		if (this.#scheduled) return;
		this.#scheduled = true;
		detached(() => afterInput(() => void this.#run()));
	}

	async #run(): Promise<void> {
		while (this.#again) {
			this.#again = false;
			try {
				while (await this.#step());
			} catch (error) {
				this.#backOff(error instanceof Error ? error : new Error(String(error)));
			}
		}
		this.#scheduled = false;
	}

	/** One step of the loop. @returns whether there may be more to do. */
	async #step(): Promise<boolean> {
		if (this.#listeners.size === 0) return false;
		const session = this.#sockets.current;
		if (session) {
			this.#unsubscribe(session);
			this.#listeners.announceLive();
			if (this.#listeners.missing.isEmpty) {
				void this.#sockets.handOver();
				return false;
			}
		}
		if (this.#retry.mustWait()) return false;
		await (session ? this.#subscribe(session) : this.#connect());
		return true;
	}

	async #connect(): Promise<void> {
		const { signal } = (this.#attempt = new AbortController());
		const topics = this.#listeners.missing.take(MAX_URL_TOKEN_BYTES);
		try {
			await this.#sockets.open(topics, signal);
			this.#listeners.carried(topics);
		} catch (error) {
			this.#listeners.refused(topics);
			if (!signal.aborted) throw error;
		} finally {
			this.#attempt = undefined;
		}
	}

	async #subscribe(session: Session): Promise<void> {
		const topics = this.#listeners.missing.take(MAX_SENT_BYTES);
		try {
			await session.subscribe(topics);
			this.#listeners.carried(topics);
			if (session.ageMs >= STABLE_MS) this.#retry.forget();
		} catch (error) {
			this.#listeners.refused(topics);
			// The end of a session is handled in `#onClosing` and `#onClosed`.
			if (session !== this.#sockets.current) return;
			if (this.#sockets.abandonCurrent()) this.#listeners.reset();
			throw error;
		}
	}

	#unsubscribe(session: Session): void {
		let topics = this.#listeners.takeSurplus(MAX_SENT_BYTES);
		while (topics.length > 0) {
			session.unsubscribe(topics);
			topics = this.#listeners.takeSurplus(MAX_SENT_BYTES);
		}
	}

	#onClosing(session: Session, error: Error): void {
		this.#listeners.reset();
		// The old socket still delivers, so there is no hurry with a server that closes each new one.
		if (session.ageMs >= STABLE_MS) this.#retry.hurry();
		else this.#retry.delay();
		this.#announceLoss(error);
		this.#reconcile();
	}

	#onClosed(session: Session, error: Error): void {
		this.#listeners.reset();
		if (session.ageMs >= STABLE_MS) this.#retry.forget();
		this.#backOff(error);
	}

	#onOldClosed(error: Error): void {
		this.#announceLoss(error);
		// It may have had messages that came before the current socket's subscription.
		this.#listeners.announceGap();
		this.#reconcile();
	}

	#backOff(error: Error): void {
		if (this.#closed) return;
		this.#retry.delay();
		this.#reconcile();
		this.#listeners.announceFailure(error);
		this.#announceLoss(error);
	}

	#announceLoss(error: Error): void {
		this.#listeners.announceLoss(error, (channel, name) => this.#sockets.oldCarries(channel, name));
	}

	#endIfIdle(): void {
		if (this.#listeners.size > 0) return;
		this.#attempt?.abort();
		this.#retry.stop();
		this.#sockets.end();
		this.#listeners.reset();
	}
}

/** @returns why a listener's topics can never be listened to, if they cannot. */
function unacceptable({ channel, topics }: SourceListener): RealtimeError | undefined {
	const place = `channel "${channel.length > 100 ? `${channel.slice(0, 100)}…` : channel}"`;
	if (topics.length > MAX_TOPICS) {
		return new RealtimeError(
			'UPSTREAM',
			`A feed of ${place} was asked for ${topics.length} topics; at most ${MAX_TOPICS} can be listened to at once. Ask for fewer, or move what differs into the channel's name.`
		);
	}
	if (topics.every((name) => fitsFrame({ channel, name }))) return undefined;
	return new RealtimeError(
		'UPSTREAM',
		`The name of ${place} or of one of its topics is too long for Inngest.`
	);
}
