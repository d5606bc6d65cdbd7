/** What is known of an open stream where every other isolate can ask. */
export interface StreamEntry {
	/** Names the stream. */
	readonly name: string;
	/** Names the process or isolate that serves it. */
	readonly owner: string;
	/** Its channels, and who its reader is among their members. */
	readonly channels: readonly { channel: string; memberId?: string | undefined }[];
	/** What `identify` said about its reader. */
	readonly identity: Readonly<Record<string, unknown>> | null;
	/** What its sender counts as where rates are limited. */
	readonly sender?: string | undefined;
}

/** Which streams are meant. A field that is absent fits all of them. */
export interface StreamsWhere {
	name?: string | undefined;
	channel?: string | undefined;
	/** The id of a reader, or attributes that `identify` returned. */
	target?: string | Readonly<Record<string, unknown>> | undefined;
	senders?: readonly string[] | undefined;
	/** Streams that were asked this question, which still waits for its answer. */
	asked?: string | undefined;
	/** Streams of this process or isolate are left out. */
	except?: string | undefined;
}

/** A question to streams. */
export interface StreamsQuestion {
	/** Names this one question. */
	id: string;
	question: string;
	data: unknown;
	/** How long, in milliseconds, the streams may take. */
	timeoutMs: number;
}

/** The part of a stream in the directory. Ends with the stream. */
export interface StreamPresence {
	/** The stream has other channels now. */
	update(entry: StreamEntry): void;
	leave(): void;
}

/**
 * All open streams, for a backend whose streams cannot share what a process has, as on Cloudflare: each
 * of them is asked by itself.
 */
export interface StreamDirectory {
	/**
	 * A stream is open. Restores its line by itself, and never throws.
	 *
	 * @param answer Answers a question; what it returns is JSON, and `undefined` is no answer.
	 */
	enter(entry: StreamEntry, answer: (question: string, data: unknown) => unknown): StreamPresence;
	/**
	 * Puts a question to all streams that fit.
	 *
	 * @param hear Called with each answer.
	 * @returns when all have answered, the time is over, or `signal` ends it.
	 */
	ask(
		where: StreamsWhere,
		question: StreamsQuestion,
		hear: (answer: unknown) => void,
		signal: AbortSignal
	): Promise<void>;
	/** @returns how many streams fit. */
	count(where: StreamsWhere): Promise<number>;
}

/** Whether a stream is meant, as far as its entry says. */
export function fitsStream(entry: StreamEntry, where: StreamsWhere): boolean {
	const { name, channel, target, senders, except } = where;
	if (name !== undefined && entry.name !== name) return false;
	if (except !== undefined && entry.owner === except) return false;
	if (senders && !(entry.sender !== undefined && senders.includes(entry.sender))) return false;
	if (channel === undefined && target === undefined) return true;
	return entry.channels.some((one) => fitsChannel(one, entry.identity, where));
}

/** Whether a channel of a stream is meant. */
export function fitsChannel(
	{ channel, memberId }: StreamEntry['channels'][number],
	identity: StreamEntry['identity'],
	where: Pick<StreamsWhere, 'channel' | 'target'>
): boolean {
	if (where.channel !== undefined && channel !== where.channel) return false;
	const { target } = where;
	if (target === undefined) return true;
	if (typeof target === 'string') return memberId === target || identity?.id === target;
	const wanted = Object.entries(target);
	if (!identity || wanted.length === 0) return false;
	return wanted.every(([name, value]) => JSON.stringify(identity[name]) === JSON.stringify(value));
}
