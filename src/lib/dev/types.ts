import type { DevEventInput } from './events.js';

/** Where warnings and errors go; `console` fits. */
export interface DevLogger {
	info(message: string): void;
	warn(message: string): void;
	error(message: string): void;
}

/** Options of `startInngestDev`. */
export interface InngestDevOptions {
	/** Port to listen on; 0 takes any free port (read it from `url`). @default 0 */
	port?: number;
	/** Address to listen on. @default '127.0.0.1' */
	host?: string;
	/**
	 * Names of hosts, without a port, that requests may name in `Host` and whose pages may send requests
	 * (`Origin`), besides `localhost` and the addresses of this machine's loopback. A name such as
	 * `host.docker.internal` lets an app in a container use the engine. Everything else gets 403: the engine has
	 * no keys, and any web page in the developer's browser could use it.
	 * @default []
	 */
	allowedHosts?: readonly string[];
	/**
	 * The app's serve endpoint, such as `http://localhost:5173/api/inngest`. The engine asks it to
	 * register its functions as soon as it answers, and again every few seconds.
	 * @default undefined (apps register by themselves)
	 */
	appUrl?: string;
	/** Where warnings and errors go. @default console */
	logger?: DevLogger;
}

/** State of a run. */
export type DevRunStatus = 'Queued' | 'Running' | 'Completed' | 'Failed' | 'Cancelled';

/** One run of a function, as it is when `runs` is read. */
export interface DevRun {
	id: string;
	/** The app's id and the function's, joined by a dash. */
	functionId: string;
	/** Id of the event that started it, as `send()` returned it. */
	eventId: string;
	eventName: string;
	status: DevRunStatus;
	/** The result of the function. */
	output?: unknown;
	/** Why it failed. */
	error?: { name: string; message: string; stack?: string };
	/** Highest number of attempts so far, of a step or of the function's code. */
	attempts: number;
	/** Steps that are done. */
	steps: number;
	createdAt: Date;
	startedAt?: Date;
	endedAt?: Date;
}

/** A message for one topic. */
export interface DevPublishInput {
	channel: string;
	topic: string;
	/** Anything that JSON can hold. */
	data: unknown;
	/** The run that the message comes from. */
	runId?: string;
}

/** The embedded engine, running. Ended by `close()`. */
export interface InngestDev {
	/** Base URL, such as `http://127.0.0.1:8288`: the value for `INNGEST_BASE_URL`. */
	readonly url: string;
	readonly port: number;

	/**
	 * Asks an app's serve endpoint to register its functions here, once; `appUrl` keeps asking.
	 *
	 * @returns whether it registered. If not, the reason is logged, unless the app could not be reached.
	 */
	register(appUrl: string): Promise<boolean>;

	/** Sends events, as `inngest.send()` does, and returns their ids. */
	send(events: DevEventInput | DevEventInput[]): Promise<string[]>;
	/** Publishes a message, as a function's `publish()` does. Subscribers have it on return. */
	publish(message: DevPublishInput): void;
	/** Publishes a data stream; resolves when `source` ended and all of it was delivered. */
	publishStream(
		target: { channel: string; topic: string; runId?: string },
		source: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>
	): Promise<void>;

	/** Runs of functions, oldest first: all that are running, and the last 1,000 that have ended. */
	readonly runs: readonly DevRun[];

	/** Number of open realtime sockets. */
	readonly sockets: number;
	/** Number of pairs of a realtime connection and a topic that it listens to. */
	readonly subscriptions: number;

	/**
	 * Fault: sends `closing` on every open socket, as a server does before it shuts down. They still deliver,
	 * ignore `sub` and `unsub`, and are cut after `graceMs`. New sockets are not affected.
	 *
	 * @param graceMs @default 300_000
	 */
	announceClosing(graceMs?: number): void;
	/** Fault: cuts every realtime connection without a close frame. */
	dropSockets(): void;
	/** Fault: answers token requests with `status`, until called with `null`. */
	failTokens(status: number | null): void;
	/**
	 * Fault: with `true` leaves the frames of all sockets unread, `sub` and pings alike, like a server
	 * that is slow to subscribe; with `false` handles them in order.
	 */
	holdPongs(held: boolean): void;

	/**
	 * Cancels runs, ends connections and frees the port.
	 *
	 * @param options With `graceMs`, sockets get `closing` first and are served that much longer.
	 */
	close(options?: { graceMs?: number }): Promise<void>;
}
