/**
 * All differences between the two libraries and their kinds of clients. The names of constructors are not
 * reliable, so clients are recognized by their methods.
 */
import { RealtimeError } from '../protocol/errors.js';

/**
 * A client of `redis` (5 or 6) or `ioredis` (5 or 6): standalone, Sentinel or Cluster. The type has only what
 * all of their types have in common.
 */
export interface RedisClient {
	connect(...args: never[]): unknown;
}

/** What a connection tells its owner. */
export interface LineEvents {
	/** The connection is gone, or may have missed messages. */
	broken(error: unknown): void;
	message(channel: string, text: string): void;
}

/** Our own connection. It ends for good when it breaks; its owner then opens another one. */
export interface Line {
	connect(): Promise<unknown>;
	/** Sends a command to the server that has `key`. */
	send(key: string, args: string[]): Promise<unknown>;
	subscribe(channels: readonly string[]): Promise<unknown>;
	unsubscribe(channels: readonly string[]): Promise<unknown>;
	destroy(): void;
}

/** Purposes of connections. */
export interface LineOptions {
	purpose: 'commands' | 'messages';
	sharded: boolean;
}

/** The properties of the user's client. Nothing is ever sent on it. */
export interface RedisSource {
	/** The prefix that the client puts before its keys. */
	readonly keyPrefix: string;
	/** Number of the database, because pub/sub is the same for all databases. */
	readonly database: number;
	/** Whether a connection survives the loss of a server by itself. */
	readonly heals: boolean;
	open(events: LineEvents, options: LineOptions): Line;
}

/** @throws {RealtimeError} `INVALID_OPTION` if it is not a client. */
export function sourceOf(client: RedisClient): RedisSource {
	const methods = client as Partial<NodeRedis & IoRedis> | undefined;
	if (typeof methods?.duplicate === 'function') {
		if (typeof methods.sSubscribe === 'function') return nodeRedis(client as NodeRedis);
		if (typeof methods.ssubscribe === 'function') return ioRedis(client as IoRedis);
	}
	throw new RealtimeError(
		'INVALID_OPTION',
		typeof methods?.sSubscribe === 'function'
			? '`redisBackend` cannot duplicate this client. The Sentinel client of `redis` can be duplicated from version 6 on: update `redis`, or use `ioredis`.'
			: '`redisBackend` needs a client of `redis` or `ioredis`: pass what `createClient()`, `createCluster()`, `createSentinel()`, `new Redis()` or `new Cluster()` returns.'
	);
}

interface Emitter {
	on(event: string, listener: (...args: never[]) => void): unknown;
}

/** The `options` of both libraries, as far as we use them. */
interface ClientOptions {
	keyPrefix?: string;
	/** `redis` */
	database?: number;
	socket?: object;
	defaults?: ClientOptions;
	/** `ioredis` */
	db?: number;
	redisOptions?: object;
}

interface NodeRedis extends RedisClient, Emitter {
	duplicate(options: object): NodeRedis;
	connect(): Promise<unknown>;
	destroy(): unknown;
	sendCommand(...args: unknown[]): Promise<unknown>;
	subscribe(channels: string[], listener: NodeRedisListener): Promise<unknown>;
	unsubscribe(channels: string[]): Promise<unknown>;
	sSubscribe(channel: string, listener: NodeRedisListener): Promise<unknown>;
	sUnsubscribe(channel: string): Promise<unknown>;
	/** Standalone only. */
	unref?(): void;
	readonly options?: ClientOptions;
	/** Cluster only. */
	readonly masters?: readonly { client?: NodeRedis; pubSub?: { client: NodeRedis } }[];
	readonly pubSubNode?: { client: NodeRedis };
	readonly _options?: ClientOptions;
}

type NodeRedisListener = (text: string, channel: string) => void;

/** A copy of the client without the user's settings that change replies or repeat commands. */
const PLAIN = {
	disableOfflineQueue: true,
	keyPrefix: undefined,
	clientSideCache: undefined,
	commandOptions: { timeout: undefined, typeMapping: undefined }
};

function nodeRedis(client: NodeRedis): RedisSource {
	const kind =
		'masters' in client
			? 'cluster'
			: typeof client.unref === 'function'
				? 'standalone'
				: 'sentinel';
	// A Sentinel client does not expose its options.
	const options = (kind === 'cluster' ? client._options : client.options) ?? {};

	/** @param signal Ends its sockets, including those that are still opening, which `destroy()` leaves. */
	function duplicate({ purpose }: LineOptions, signal: AbortSignal): NodeRedis {
		if (kind === 'standalone') {
			const socket = { ...options.socket, reconnectStrategy: false, signal };
			return client.duplicate({ ...PLAIN, url: undefined, socket });
		}
		const { commandOptions, ...plain } = PLAIN;
		if (kind === 'sentinel') return client.duplicate({ commandOptions });
		return client.duplicate({
			clientSideCache: undefined,
			keyPrefix: undefined,
			commandOptions,
			defaults: { ...options.defaults, ...plain, socket: { ...options.defaults?.socket, signal } },
			useReplicas: false,
			minimizeConnections: purpose === 'messages'
		});
	}

	return {
		keyPrefix: options.keyPrefix ?? '',
		database: options.database ?? 0,
		heals: kind !== 'standalone',
		open(events, lineOptions) {
			const { purpose, sharded } = lineOptions;
			const end = new AbortController();
			const own = duplicate(lineOptions, end.signal);
			const listener: NodeRedisListener = (text, channel) => events.message(channel, text);
			const broken = (error?: unknown): void => events.broken(error);
			const unref = (): void => {
				if (kind === 'standalone') own.unref!();
				for (const { client, pubSub } of own.masters ?? []) {
					client?.unref!();
					pubSub?.client.unref!();
				}
				own.pubSubNode?.client.unref!();
			};
			own.on('error', kind === 'standalone' ? broken : () => {});
			if (kind === 'standalone') own.on('end', broken);
			if (kind === 'cluster') own.on('node-ready', unref);
			return {
				async connect() {
					if (kind === 'standalone') unref();
					await own.connect();
					unref();
					if (purpose !== 'messages' || kind === 'standalone') return;
					// It subscribes again at another server, and says nothing of what it missed meanwhile.
					for (const event of ['error', 'node-error', 'node-disconnect', 'topology-change']) {
						own.on(event, broken);
					}
				},
				send: (key, args) =>
					kind === 'standalone'
						? own.sendCommand(args)
						: kind === 'sentinel'
							? own.sendCommand(false, args)
							: own.sendCommand(key, false, args),
				subscribe: async (channels) => {
					if (!sharded) await own.subscribe([...channels], listener);
					// Channels of different slots do not go into one command.
					else await Promise.all(channels.map((channel) => own.sSubscribe(channel, listener)));
					unref();
				},
				unsubscribe: (channels) =>
					sharded
						? Promise.all(channels.map((channel) => own.sUnsubscribe(channel)))
						: own.unsubscribe([...channels]),
				destroy() {
					quietly(() => own.destroy());
					end.abort();
				}
			};
		}
	};
}

interface IoRedis extends RedisClient, Emitter {
	duplicate(options: object): IoRedis;
	/** Of a Cluster. */
	duplicate(startupNodes: readonly never[], options: object): IoRedis;
	connect(): Promise<unknown>;
	disconnect(): void;
	call(command: string, ...args: string[]): Promise<unknown>;
	subscribe(...channels: string[]): Promise<unknown>;
	unsubscribe(...channels: string[]): Promise<unknown>;
	ssubscribe(channel: string): Promise<unknown>;
	sunsubscribe(channel: string): Promise<unknown>;
	readonly options: ClientOptions;
	readonly isCluster?: boolean;
	readonly stream?: { unref?(): void };
	/** Of a Cluster. */
	readonly subscriber?: { getInstance?(): IoRedis | null };
}

function ioRedis(client: IoRedis): RedisSource {
	const isCluster = client.isCluster === true;
	const { options } = client;
	const plain = {
		lazyConnect: true,
		enableOfflineQueue: false,
		enableAutoPipelining: false,
		keyPrefix: ''
	};
	const plainRedis = {
		autoResendUnfulfilledCommands: false,
		maxRetriesPerRequest: 0,
		reconnectOnError: null,
		commandTimeout: undefined,
		keyPrefix: ''
	};

	function duplicate({ sharded }: LineOptions): IoRedis {
		if (!isCluster) {
			return client.duplicate({
				...plain,
				...plainRedis,
				autoResubscribe: false,
				retryStrategy: () => null,
				sentinelRetryStrategy: () => null
			});
		}
		return client.duplicate([], {
			...plain,
			scaleReads: 'master',
			clusterRetryStrategy: () => null,
			// It would repeat failed commands, even after we gave up on them.
			retryDelayOnFailover: 0,
			retryDelayOnClusterDown: 0,
			shardedSubscribers: sharded,
			redisOptions: { ...options.redisOptions, ...plainRedis }
		});
	}

	return {
		keyPrefix: options.keyPrefix ?? '',
		database: options.db ?? 0,
		heals: isCluster,
		open(events, lineOptions) {
			const { purpose, sharded } = lineOptions;
			const own = duplicate(lineOptions);
			const broken = (error?: unknown): void => events.broken(error);
			const unref = (redis: IoRedis | null | undefined): void => {
				redis?.stream?.unref?.();
				redis?.on('connect', () => redis.stream?.unref?.());
			};
			own.on('error', isCluster ? () => {} : broken);
			own.on('end', broken);
			if (isCluster) own.on('+node', unref);
			else unref(own);
			own.on(sharded ? 'smessage' : 'message', (channel: string, text: string) =>
				events.message(channel, text)
			);
			return {
				async connect() {
					await own.connect();
					if (purpose !== 'messages' || !isCluster) return;
					// It subscribes again at another server, and says nothing of what it missed meanwhile.
					for (const event of ['error', 'node error', '-node']) own.on(event, broken);
				},
				send: (_, [command, ...args]) => own.call(command!.toLowerCase(), ...args),
				subscribe: async (channels) => {
					if (!sharded) await own.subscribe(...channels);
					// Channels of different slots do not go into one command.
					else await Promise.all(channels.map((channel) => own.ssubscribe(channel)));
					own.subscriber?.getInstance?.()?.stream?.unref?.();
				},
				unsubscribe: (channels) =>
					sharded
						? Promise.all(channels.map((channel) => own.sunsubscribe(channel)))
						: own.unsubscribe(...channels),
				destroy: () => quietly(() => own.disconnect())
			};
		}
	};
}

/** Ends a connection that may have ended already. */
function quietly(end: () => unknown): void {
	void (async () => end())().catch(() => {});
}
