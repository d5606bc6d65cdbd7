import { RealtimeError } from '../protocol/errors.js';
import { quoted } from '../protocol/quote.js';
import type {
	BackendBus,
	BackendFeed,
	BusListener,
	RealtimeBackend
} from '../server/backend/backend.js';
import type { IdempotencyStore } from '../server/backend/idempotency.js';
import { MemoryIdempotencyStore } from '../server/backend/memoryIdempotency.js';
import { HeldPresenceStore } from '../server/backend/heldPresence.js';
import { MemoryRateLimitStore } from '../server/backend/memoryRateLimit.js';
import type { PresenceStore } from '../server/backend/presence.js';
import type { RateLimitStore } from '../server/backend/rateLimit.js';
import type { ReplayLimits, ReplayStore } from '../server/backend/replay.js';
import type { StreamDirectory } from '../server/backend/streams.js';
import { streamDirectory } from './directory.js';
import { openLine, type LineEvents } from './line.js';
import type { ObjectNamespaceLike, ObjectStubLike } from './platform.js';
import {
	decode,
	encode,
	METHODS,
	type CallRequest,
	type ListenRequest,
	type Part
} from './wire.js';

/** Options of `durableObjectBackend`. */
export interface DurableObjectBackendOptions {
	/**
	 * How many objects the channels are spread over, by a hash of their names, or a function that names
	 * the object of a channel, always the same one for the same channel. At most 1,000. Changing it moves channels to objects that do not have their messages.
	 * @default 1
	 */
	shards?: number | ((channel: string) => string | number);
	/** What the names of the objects begin with. @default 'sveltekit-inngest' */
	prefix?: string;
	/** How long, in milliseconds, one call may take. @default 5_000 */
	timeoutMs?: number;
}

/** A backend that keeps what isolates share in Durable Objects. */
export interface DurableObjectBackend extends RealtimeBackend {
	readonly name: 'durable-object';
	readonly timeoutMs: number;
	readonly replay: ReplayStore;
	readonly bus: BackendBus;
	readonly presence: PresenceStore;
	readonly streams: StreamDirectory;
	readonly rateLimit: RateLimitStore;
	readonly idempotency: IdempotencyStore;
	readonly feed: BackendFeed;
	/**
	 * Learns the binding from a request's `event.platform`. The realtime endpoint calls it for each
	 * request of its own. Call it in `handle` of `src/hooks.server.ts`, so that `emit()`, `cursor()` and
	 * `history()` reach the object from a form action or a `load` as well.
	 *
	 * @returns whether there is a binding.
	 */
	use(platform: unknown): boolean;
}

/** Each object costs a socket to Inngest. */
const MAX_SHARDS = 1_000;

/** A row holds 2 MB: what a run returned, and its id. */
const MAX_RESULT_BYTES = 2_000_000;

/** Logs whose bounds are remembered, to be sent along with calls. */
const MAX_LIMITS = 10_000;

/**
 * A backend whose logs, channels, members and records live in Durable Objects, which all isolates of a
 * Worker share.
 *
 * @param binding The binding of the class that `createRealtimeHub` made, or a function that finds it in
 *   `event.platform`. Where it finds none, each stream is served by a hub of its own.
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work.
 * @example
 * ```ts
 * const backend = durableObjectBackend((platform) => platform.env.REALTIME);
 *
 * export const { GET, POST } = createRealtime({ inngest, channels, backend });
 * ```
 */
export function durableObjectBackend<TPlatform = { env: Record<string, ObjectNamespaceLike> }>(
	binding: ObjectNamespaceLike | ((platform: TPlatform) => ObjectNamespaceLike | undefined),
	options: DurableObjectBackendOptions = {}
): DurableObjectBackend {
	const { shards = 1, prefix = 'sveltekit-inngest', timeoutMs = 5_000 } = options;
	const isBound = typeof binding !== 'function' || 'idFromName' in binding;
	if (!binding || (isBound && typeof (binding as ObjectNamespaceLike).idFromName !== 'function')) {
		throw invalid('binding', binding, 'a Durable Object binding, or a function that returns one');
	}
	const isCount = Number.isSafeInteger(shards) && Number(shards) >= 1;
	if (typeof shards !== 'function' && !(isCount && shards <= MAX_SHARDS)) {
		throw invalid('shards', shards, `a whole number from 1 to ${MAX_SHARDS}, or a function`);
	}
	if (typeof timeoutMs !== 'number' || !(timeoutMs > 0)) {
		throw invalid('timeoutMs', timeoutMs, 'a number of milliseconds');
	}

	/** `null` where a request had none; `undefined` before the first request. */
	let namespace = isBound ? (binding as ObjectNamespaceLike) : undefined;
	let isMissing = false;
	const limits = new Map<string, ReplayLimits>();
	/** Objects that this isolate has members in. */
	const withMembers = new Set<string>();
	const closing = new Set<() => void>();

	const objectOf = (channel: string): string => {
		if (typeof shards !== 'function') return `${prefix}:${hash(channel) % shards}`;
		const shard: unknown = shards(channel);
		if (!Number.isFinite(shard) && (typeof shard !== 'string' || shard === '')) {
			throw new RealtimeError(
				'INVALID_OPTION',
				`\`shards\` must name the object of channel ${quoted(channel)} by a text or a number; it returned ${typeof shard === 'string' ? 'an empty text' : String(shard)}.`
			);
		}
		return `${prefix}:${shard as string | number}`;
	};

	/** All objects; where a function names them, those that this isolate has members in. */
	function allObjects(): Iterable<string> {
		if (typeof shards === 'function') return withMembers;
		return Array.from({ length: shards }, (_, shard) => `${prefix}:${shard}`);
	}

	async function ask(body: CallRequest | ListenRequest, signal?: AbortSignal): Promise<Response> {
		if (!namespace) throw unbound();
		const { object } = body;
		// Cloudflare's own types ask for their own id.
		const stub = namespace.get(namespace.idFromName(object) as never) as ObjectStubLike;
		return await stub.fetch('https://realtime.hub/', {
			method: 'POST',
			body: encode(body),
			...(signal && { signal })
		});
	}

	async function call(
		part: Part,
		method: string,
		args: readonly unknown[],
		object: string,
		limits?: ReplayLimits
	): Promise<unknown> {
		const abort = new AbortController();
		let timer: ReturnType<typeof setTimeout> | undefined;
		const late = new Promise<never>((_, reject) => {
			timer = setTimeout(() => {
				abort.abort();
				reject(new Error(`The object did not answer within ${timeoutMs} ms.`));
			}, timeoutMs);
		});
		try {
			const answer = async (): Promise<unknown> => {
				const response = await ask({ object, part, method, args, limits }, abort.signal);
				if (!response.ok) throw new Error(await response.text());
				return decode<{ value?: unknown }>(await response.text()).value;
			};
			return await Promise.race([answer(), late]);
		} finally {
			clearTimeout(timer);
		}
	}

	/** A part whose calls go to the object of what the first argument names. */
	function remote<TPart extends object>(part: Part, object: (name: string) => string): TPart {
		const methods = METHODS[part].map((method) => [
			method,
			async (...args: unknown[]) => {
				const name = String(args[0]);
				return call(part, method, withoutRest(args), object(name), limits.get(name));
			}
		]);
		return Object.fromEntries(methods) as TPart;
	}

	function listen(request: () => ListenRequest, events: LineEvents): () => void {
		const end = openLine((signal) => ask(request(), signal), events);
		const close = (): void => {
			closing.delete(close);
			end();
		};
		closing.add(close);
		return close;
	}

	const ofLog = (log: string): string => objectOf(channelOf(log));
	const listenToLog = (listened: 'log' | 'follow', log: string, events: LineEvents): (() => void) =>
		listen(
			() => ({ object: ofLog(log), listen: listened, name: log, limits: limits.get(log) }),
			events
		);
	const presence: PresenceStore = {
		...remote<PresenceStore>('presence', (channel) => {
			const object = objectOf(channel);
			withMembers.add(object);
			return object;
		}),
		async renew(owner, leaseMs) {
			const held = await Promise.all(
				[...withMembers].map((object) => call('presence', 'renew', [owner, leaseMs], object))
			);
			return (held as number[]).reduce((sum, count) => sum + count, 0);
		},
		async reap() {
			const left = await Promise.all(
				[...allObjects()].map((object) => call('presence', 'reap', [], object))
			);
			return (left as Awaited<ReturnType<PresenceStore['reap']>>[]).flat();
		},
		listen(channel, listener, lease) {
			let wasLive = false;
			const object = objectOf(channel);
			return listen(() => ({ object, listen: 'presence', name: channel, lease }), {
				line(line) {
					if (line.type === 'changes') listener.changes(line.changes);
					else if (line.type === 'due') listener.due?.();
					else if (line.type === 'live') {
						// The object may be a new one.
						if (wasLive) listener.check(true);
						wasLive = true;
					}
				},
				broken() {}
			});
		}
	};

	// One object knows the streams of all isolates.
	const directory = `${prefix}:${typeof shards === 'function' ? 'streams' : 0}`;
	const streams = streamDirectory({
		object: directory,
		isMissing: () => isMissing,
		call: (part, method, args) => call(part, method, withoutRest(args), directory),
		listen
	});

	/** Where no binding is, each isolate goes on with what it has itself. */
	function orMemory<TPart extends object>(remote: TPart, memory: TPart): TPart {
		const methods = Object.keys(remote).map((method) => {
			const call = (...args: unknown[]): unknown => {
				const part = (isMissing ? memory : remote) as Record<
					string,
					(...args: unknown[]) => unknown
				>;
				return part[method]!(...args);
			};
			return [method, call];
		});
		return Object.fromEntries(methods) as TPart;
	}

	return {
		name: 'durable-object',
		timeoutMs,
		replay: {
			...remote<ReplayStore>('replay', ofLog),
			limit(log, own) {
				limits.delete(log);
				limits.set(log, own);
				if (limits.size > MAX_LIMITS) limits.delete(limits.keys().next().value!);
			}
		},
		bus: {
			...remote<BackendBus>('bus', ofLog),
			listen(log, listener) {
				return listenToLog('log', log, busEvents(listener));
			}
		},
		feed: {
			follow(log, listener) {
				let wasLive = false;
				return listenToLog('follow', log, {
					line(line) {
						if (line.type === 'events') listener.events(line.events);
						else if (line.type === 'live') {
							wasLive = true;
							listener.live(line.cursor);
						} else if (line.type === 'lost') listener.lost(new Error(line.text));
						else if (line.type === 'failed') listener.failed(new Error(line.text));
					},
					broken(error) {
						if (wasLive) listener.lost(error);
						else listener.failed(error);
					}
				});
			}
		},
		presence: { ...orMemory(presence, new HeldPresenceStore()), holdsLeases: true },
		streams,
		rateLimit: orMemory<RateLimitStore>(remote('rateLimit', objectOf), new MemoryRateLimitStore()),
		idempotency: {
			...orMemory<IdempotencyStore>(remote('idempotency', objectOf), new MemoryIdempotencyStore()),
			maxResultBytes: MAX_RESULT_BYTES
		},
		use(platform) {
			if (isBound) return true;
			const found = find(binding as (platform: never) => ObjectNamespaceLike, platform);
			if (found) {
				namespace = found;
				isMissing = false;
				return true;
			}
			if (!namespace && !isMissing) {
				isMissing = true;
				console.warn(
					'[sveltekit-inngest] There is no Durable Object binding in `event.platform`: each stream has a hub of its own. Bind the class RealtimeHub, as docs/guides/cloudflare.md shows.'
				);
			}
			return namespace !== undefined;
		},
		needsPlatform: !isBound,
		close() {
			for (const close of closing) close();
		}
	};
}

function busEvents(listener: BusListener): LineEvents {
	let isLost = false;
	return {
		line(line) {
			if (line.type === 'events') listener.events(line.events);
			else if (line.type === 'live') {
				isLost = false;
				listener.live();
			}
		},
		broken(error) {
			if (!isLost) listener.lost(error);
			isLost = true;
		}
	};
}

function find(
	binding: (platform: never) => ObjectNamespaceLike | undefined,
	platform: unknown
): ObjectNamespaceLike | undefined {
	try {
		return binding(platform as never);
	} catch {
		// `platform` is undefined where no adapter gives one.
		return undefined;
	}
}

/** Arguments without those at the end that were left out, which JSON would make `null`. */
function withoutRest(args: readonly unknown[]): readonly unknown[] {
	return args.slice(0, args.findLastIndex((arg) => arg !== undefined) + 1);
}

/** The channel that a log is of: the first thing in its name. */
function channelOf(log: string): string {
	try {
		const [channel] = JSON.parse(log.replace(/#\d+$/, '')) as unknown[];
		return typeof channel === 'string' ? channel : log;
	} catch {
		return log;
	}
}

/** FNV-1a, the same in every isolate. */
function hash(text: string): number {
	let value = 0x811c9dc5;
	for (let index = 0; index < text.length; index++) {
		value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
	}
	return value >>> 0;
}

function unbound(): RealtimeError {
	return new RealtimeError(
		'BACKEND',
		'The Durable Object binding is not known yet: call `backend.use(event.platform)` in `handle` of src/hooks.server.ts, or give durableObjectBackend() the binding itself.'
	);
}

function invalid(name: string, value: unknown, expected: string): RealtimeError {
	return new RealtimeError(
		'INVALID_OPTION',
		`\`durableObjectBackend\` cannot use \`${name}: ${String(value)}\`: it must be ${expected}.`
	);
}
