/** The entry of an open stream in a directory that every isolate can query. */
export interface StreamEntry {
	/** Id of the stream. */
	readonly name: string;
	/** Id of the process or isolate that serves it. */
	readonly owner: string;
	/** Its channels, and who its reader is among their members. */
	readonly channels: readonly { channel: string; memberId?: string | undefined }[];
	/** The result of `identify` for its reader. */
	readonly identity: Readonly<Record<string, unknown>> | null;
	/** The key that its rates are counted by. */
	readonly sender?: string | undefined;
}

/** Selects streams. A field that is absent fits all of them. */
export interface StreamsWhere {
	name?: string | undefined;
	channel?: string | undefined;
	/** The id of a reader, or attributes that `identify` returned. */
	target?: string | Readonly<Record<string, unknown>> | undefined;
	senders?: readonly string[] | undefined;
	/** Streams that were asked this pending question. */
	asked?: string | undefined;
	/** Streams of this process or isolate are left out. */
	except?: string | undefined;
}

/** A question to streams. */
export interface StreamsQuestion {
	/** Id of this question. */
	id: string;
	question: string;
	data: unknown;
	/** Time limit, in milliseconds, for the streams. */
	timeoutMs: number;
}

/** Keeps the entry of a stream in the directory. Ends with the stream. */
export interface StreamPresence {
	/** Call this when the channels of the stream have changed. */
	update(entry: StreamEntry): void;
	leave(): void;
}

/**
 * All open streams, for a backend whose streams cannot share a process's objects, as on Cloudflare: each
 * stream is asked separately.
 */
export interface StreamDirectory {
	/**
	 * Adds an open stream. It restores its connection by itself, and never throws.
	 *
	 * @param answer Answers a question with JSON; `undefined` is no answer.
	 */
	enter(entry: StreamEntry, answer: (question: string, data: unknown) => unknown): StreamPresence;
	/**
	 * Asks all streams that fit.
	 *
	 * @param hear Called with each answer.
	 * @returns a promise that resolves when all have answered, the time is over, or `signal` aborts.
	 */
	ask(
		where: StreamsWhere,
		question: StreamsQuestion,
		hear: (answer: unknown) => void,
		signal: AbortSignal
	): Promise<void>;
	/** @returns the number of streams that fit. */
	count(where: StreamsWhere): Promise<number>;
}

/** Whether a selection includes a stream, as far as its entry shows. */
export function fitsStream(entry: StreamEntry, where: StreamsWhere): boolean {
	const { name, channel, target, senders, except } = where;
	if (name !== undefined && entry.name !== name) return false;
	if (except !== undefined && entry.owner === except) return false;
	if (senders && !(entry.sender !== undefined && senders.includes(entry.sender))) return false;
	if (channel === undefined && target === undefined) return true;
	return entry.channels.some((one) => fitsChannel(one, entry.identity, where));
}

/** Whether a selection includes a channel of a stream. */
export function fitsChannel(
	{ channel, memberId }: StreamEntry['channels'][number],
	identity: StreamEntry['identity'],
	where: Pick<StreamsWhere, 'channel' | 'target'>
): boolean {
	if (where.channel !== undefined && channel !== where.channel) return false;
	const { target } = where;
	if (target === undefined) return true;
	if (typeof target === 'string') return memberId === target || identity?.id === target;
	const wanted = Object.keys(target);
	if (!identity || wanted.length === 0) return false;
	return wanted.every((name) => {
		const json = attributeJson(target, name);
		return json !== undefined && json === attributeJson(identity, name);
	});
}

/** @returns the attributes of an identity as JSON has them, without those that JSON cannot carry. */
export function plainIdentity(
	identity: NonNullable<StreamEntry['identity']>
): NonNullable<StreamEntry['identity']> {
	const attributes = Object.keys(identity).flatMap((name) => {
		const json = attributeJson(identity, name);
		return json === undefined ? [] : [[name, JSON.parse(json) as unknown]];
	});
	return { ...Object.fromEntries(attributes), id: identity.id };
}

/** @returns the JSON of an attribute; nothing where it has none, or JSON cannot carry it. */
export function attributeJson(
	attributes: Readonly<Record<string, unknown>>,
	name: string
): string | undefined {
	try {
		return Object.hasOwn(attributes, name) ? JSON.stringify(attributes[name]) : undefined;
	} catch {
		return undefined;
	}
}
