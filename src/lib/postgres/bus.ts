import { formatCursor } from '../protocol/cursor.js';
import type {
	BackendBus,
	BusListener,
	BusPublishOptions,
	Published
} from '../server/backend/backend.js';
import type { ReplayedEvent, ReplayEvent } from '../server/backend/replay.js';
import type { Line } from './line.js';
import type { PostgresReplayStore } from './replay.js';
import { busChannel } from './schema.js';
import type { Statements } from './statements.js';
import { hash, unescapeText } from './text.js';

/** Most logs per question, so that the notification is not too long. */
const MAX_ASKED = 150;

/** An announcement of the database: the events after a position, or their number if they are too long. */
interface Notice {
	log: string;
	epoch: string;
	after: number;
	at?: number;
	events?: [kind: ReplayEvent['kind'], topic: string | null, payload: string][];
	count?: number;
}

/** A question between processes: for which of these logs is any of you receiving messages? */
interface Question {
	ask: string;
	from: string;
	logs: string[];
}

/** The answer: for these. */
interface Answer {
	answer: string;
	logs: string[];
}

/** The listeners of one log in this process. */
interface Listening {
	log: string;
	listeners: Set<BusListener>;
	/** Settles when everything announced so far has been passed on; `undefined` if it has been already. */
	reading: Promise<void> | undefined;
}

/** A caller that waits for an answer. */
interface Asker {
	log: string;
	answered(): void;
}

/** Announcements on LISTEN and NOTIFY, over one channel of notifications. */
export class PostgresBus implements BackendBus {
	readonly isTransactional = true;
	readonly #statements: Statements;
	readonly #store: PostgresReplayStore;
	readonly #line: Line | undefined;
	readonly #pollMs: number | false;
	readonly #logs = new Map<string, Listening>();
	/** Distinguishes the questions of this process from those of others. */
	readonly #name = Math.random().toString(36).slice(2);
	#asked = 0;
	#toAsk: Asker[] = [];
	readonly #askers = new Map<string, Asker[]>();
	/** `undefined` until the connection is live for the first time, or has failed. */
	#isLive: boolean | undefined;
	#trouble = new Error('The line to Postgres is being opened.');
	#stopLine: (() => void) | undefined;
	#polling: ReturnType<typeof setInterval> | undefined;

	/** @param line The connection for notifications; without it the logs are polled. */
	constructor(
		statements: Statements,
		options: { store: PostgresReplayStore; line: Line | undefined; pollMs: number | false }
	) {
		this.#statements = statements;
		this.#store = options.store;
		this.#line = options.line;
		this.#pollMs = options.pollMs;
	}

	publish(log: string, event: ReplayEvent, options: BusPublishOptions = {}): Promise<Published> {
		return this.#store.publish(log, event, options);
	}

	listen(log: string, listener: BusListener): () => void {
		const id = hash(log);
		const listening: Listening = this.#logs.get(id) ?? {
			log,
			listeners: new Set(),
			reading: undefined
		};
		// The same listener may be here twice.
		const own = wrap(listener);
		listening.listeners.add(own);
		this.#logs.set(id, listening);
		if (!this.#stopLine) this.#start();
		else if (this.#isLive !== undefined) {
			queueMicrotask(() => {
				if (!listening.listeners.has(own)) return;
				if (this.#isLive) own.live();
				else own.lost(this.#trouble);
			});
		}
		return () => {
			listening.listeners.delete(own);
			if (listening.listeners.size === 0 && this.#logs.get(id) === listening) this.#logs.delete(id);
			if (this.#logs.size === 0) this.#stop();
		};
	}

	/** Asks the other processes; questions of one turn of the event loop are one notification. */
	probe(log: string, timeoutMs: number): Promise<boolean> {
		return new Promise((resolve, reject) => {
			const asker: Asker = { log: hash(log), answered: () => done(() => resolve(true)) };
			const timer = setTimeout(() => done(() => resolve(false)), timeoutMs);
			const done = (settle: () => void): void => {
				clearTimeout(timer);
				for (const [id, askers] of this.#askers) {
					if (askers.includes(asker) && askers.length === 1) this.#askers.delete(id);
					else
						this.#askers.set(
							id,
							askers.filter((other) => other !== asker)
						);
				}
				this.#toAsk = this.#toAsk.filter((other) => other !== asker);
				settle();
			};
			this.#toAsk.push(asker);
			// Answers arrive only on the connection.
			if (this.#isLive && this.#toAsk.length === 1) {
				setImmediate(() => this.#ask().catch((error) => done(() => reject(error))));
			}
		});
	}

	close(): void {
		this.#logs.clear();
		this.#stop();
	}

	get #listeners(): BusListener[] {
		return [...this.#logs.values()].flatMap(({ listeners }) => [...listeners]);
	}

	#start(): void {
		if (!this.#line) {
			this.#stopLine = () => {};
			this.#poll();
			queueMicrotask(() => this.#stopLine && this.#live());
			return;
		}
		this.#stopLine = this.#line.listen(busChannel(this.#statements.schema), {
			notify: (payload) => this.#hear(payload),
			live: () => {
				clearInterval(this.#polling);
				this.#polling = undefined;
				this.#live();
			},
			lost: (error) => this.#lost(error),
			failed: (error) => this.#lost(error)
		});
	}

	#stop(): void {
		clearInterval(this.#polling);
		this.#polling = undefined;
		this.#stopLine?.();
		this.#stopLine = undefined;
		this.#isLive = undefined;
	}

	#live(): void {
		this.#isLive = true;
		for (const listener of this.#listeners) listener.live();
		if (this.#toAsk.length > 0) this.#ask().catch(() => {});
	}

	#lost(error: Error): void {
		if (this.#isLive === false) return;
		this.#isLive = false;
		this.#trouble = error;
		this.#poll();
		for (const listener of this.#listeners) listener.lost(error);
	}

	/** Has the logs read now and then, as long as there are no announcements. */
	#poll(): void {
		if (this.#pollMs === false) return;
		this.#polling ??= setInterval(() => {
			for (const listener of this.#listeners) listener.events([]);
		}, this.#pollMs).unref();
	}

	#hear(payload: string): void {
		// Other notifications begin with a word.
		if (!payload.startsWith('{')) return;
		try {
			const said = JSON.parse(payload) as Notice | Question | Answer;
			// Others may send anything on the same channel.
			if ('ask' in said) this.#answer(said).catch(() => {});
			else if ('answer' in said) this.#answered(said);
			else this.#announce(said);
		} catch {
			// Anybody may send notifications, in any format.
		}
	}

	/** Passes announcements on, in order. */
	#announce(notice: Notice): void {
		const listening = this.#logs.get(notice.log);
		if (!listening) return;
		if (!listening.reading && notice.events)
			return this.#tell(listening, this.#read(listening, notice));
		const reading = (listening.reading ?? Promise.resolve())
			.then(() =>
				notice.events ? this.#read(listening, notice) : this.#readLong(listening, notice)
			)
			.then((events) => this.#tell(listening, events))
			.finally(() => {
				if (listening.reading === reading) listening.reading = undefined;
			});
		listening.reading = reading;
	}

	#read({ log }: Listening, { epoch, after, at, events }: Notice): ReplayedEvent[] {
		if (at !== undefined) this.#store.know(log, { epoch, sequence: after + events!.length, at });
		return events!.map(([kind, topic, payload], index) => ({
			cursor: formatCursor(epoch, after + index + 1),
			kind,
			topic: topic === null ? null : unescapeText(topic),
			payload: unescapeText(payload)
		}));
	}

	/** Reads events that are too long for a notification; none if they cannot be read. */
	async #readLong(
		{ log }: Listening,
		{ epoch, after, count }: Notice
	): Promise<readonly ReplayedEvent[]> {
		if (!count) return [];
		try {
			return (await this.#store.since(log, formatCursor(epoch, after), count)).events;
		} catch {
			return [];
		}
	}

	#tell({ listeners }: Listening, events: readonly ReplayedEvent[]): void {
		for (const listener of [...listeners]) listener.events(events);
	}

	async #ask(): Promise<void> {
		const askers = this.#toAsk;
		this.#toAsk = [];
		for (let begin = 0; begin < askers.length; begin += MAX_ASKED) {
			const some = askers.slice(begin, begin + MAX_ASKED);
			const ask = `${this.#name}.${++this.#asked}`;
			this.#askers.set(ask, some);
			await this.#send({ ask, from: this.#name, logs: some.map(({ log }) => log) });
		}
	}

	async #answer({ ask, from, logs }: Question): Promise<void> {
		if (from === this.#name) return;
		const answers = await Promise.all(logs.map((log) => this.#isFed(log)));
		const live = logs.filter((_, index) => answers[index]);
		if (live.length > 0) await this.#send({ answer: ask, logs: live }).catch(() => {});
	}

	/** Whether a listener of this process receives a log's messages. */
	async #isFed(log: string): Promise<boolean> {
		const listeners = [...(this.#logs.get(log)?.listeners ?? [])];
		await Promise.all(listeners.map((listener) => listener.settled?.()));
		return listeners.some((listener) => listener.isLive?.());
	}

	#answered({ answer, logs }: Answer): void {
		for (const asker of this.#askers.get(answer) ?? []) {
			if (logs.includes(asker.log)) asker.answered();
		}
	}

	#send(message: Question | Answer): Promise<void> {
		return this.#statements.notify(busChannel(this.#statements.schema), JSON.stringify(message));
	}
}

function wrap(listener: BusListener): BusListener {
	return {
		isLive: () => listener.isLive?.() ?? false,
		settled: () => listener.settled?.(),
		events: (events) => listener.events(events),
		live: () => listener.live(),
		lost: (error) => listener.lost(error)
	};
}
