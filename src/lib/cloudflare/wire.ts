import type { ReplayedEvent, ReplayLimits } from '../server/backend/replay.js';
import type { PresenceChange, PresenceLease } from '../server/backend/presence.js';
import type { StreamEntry, StreamsQuestion, StreamsWhere } from '../server/backend/streams.js';

/** The parts of a backend that are called, and their methods. */
export const METHODS = {
	replay: ['append', 'since', 'bounds', 'appendAndRead', 'clear'],
	bus: ['publish'],
	presence: ['join', 'update', 'leave', 'members', 'renew', 'reap'],
	streams: ['update', 'count', 'answer'],
	rateLimit: ['take', 'block'],
	idempotency: ['begin', 'renew', 'finish', 'fail']
} as const;

/**
 * What is listened to. `log`: what is appended; `follow`: the same of a channel that the object is to
 * receive from Inngest; `presence`: changes of members; `stream`: questions to a stream; `ask`: the answers to
 * a question.
 */
export const LISTENS = ['log', 'follow', 'presence', 'stream', 'ask'] as const;

export type Part = keyof typeof METHODS;

/** What stands for `Infinity`, which JSON does not have. */
const INFINITY = '\0Infinity';

/** What a text begins with that could be taken for something else. */
const ESCAPE = '\0';

/** @returns the JSON of a request or an answer. */
export function encode(value: unknown): string {
	return JSON.stringify(value, (_, part: unknown) => {
		if (part === Infinity) return INFINITY;
		return typeof part === 'string' && part.startsWith(ESCAPE) ? ESCAPE + part : part;
	});
}

export function decode<T>(json: string): T {
	return JSON.parse(json, (_, part: unknown) => {
		if (part === INFINITY) return Infinity;
		return typeof part === 'string' && part.startsWith(ESCAPE) ? part.slice(1) : part;
	}) as T;
}

/** A call of a method. It is answered with JSON, or with an error's text and the status 500. */
export interface CallRequest {
	/** Name of the object that is asked. */
	object: string;
	part: Part;
	method: string;
	args: readonly unknown[];
	/** Bounds of the log that is meant. */
	limits?: ReplayLimits | undefined;
}

/** Somebody listens. It is answered with a stream of {@link Line}s, one JSON a line. */
export interface ListenRequest {
	object: string;
	listen: (typeof LISTENS)[number];
	/** Name of the log or the stream, the channel of the members, or the id of the question. */
	name: string;
	limits?: ReplayLimits | undefined;
	/** Leases that last as long as this line; only for `presence`. */
	lease?: PresenceLease | undefined;
	/** Only for `stream`. */
	entry?: StreamEntry;
	/** Only for `ask`. */
	ask?: { where: StreamsWhere; question: StreamsQuestion };
}

/** What an object says to whoever listens. An empty line is a sign of life. */
export type Line =
	/** Everything arrives from now on. Signs of life come at least that often. */
	| { type: 'live'; cursor: string; heartbeatMs: number }
	/** Inngest is away, and for how long nobody knows. */
	| { type: 'lost'; text: string }
	/** The channel could not be brought live. */
	| { type: 'failed'; text: string }
	| { type: 'events'; events: readonly ReplayedEvent[] }
	| { type: 'changes'; changes: readonly PresenceChange[] }
	/** Leases ran out, and somebody has to reap them. */
	| { type: 'due' }
	/** A question to this stream. */
	| { type: 'question'; id: string; question: string; data: unknown }
	/** An answer to the question that was put. */
	| { type: 'answer'; answer?: unknown }
	/** No more answers come. */
	| { type: 'over' };
