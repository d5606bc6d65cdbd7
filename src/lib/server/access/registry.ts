import type { RequestEvent } from '@sveltejs/kit';
import { resolveChannel, type ChannelLike, type ResolvedChannel } from '../../protocol/channel.js';
import { RUN_TOPIC } from '../../protocol/constants.js';
import { RealtimeError } from '../../protocol/errors.js';
import { printable, quoted } from '../../protocol/quote.js';
import type { SubscriptionRequest } from '../../protocol/request.js';
import { callApp, CallbackError } from '../failure/callback.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import { emitOnlySource } from '../hub/emitOnly.js';
import type { FeedSpec } from '../hub/source.js';
import { inTime } from '../runtime/deadline.js';
import type { RealtimeChannelConfig } from './options.js';

/** A registry entry that a request asked for. */
export interface Match {
	/** Key of the entry in the registry. */
	entry: string;
	config: RealtimeChannelConfig;
	channel: ResolvedChannel;
	/** The requested topics; without a list, all topics of the channel. */
	topics: string[];
}

type Found = Omit<Match, 'topics'>;

/**
 * Milliseconds that other entries have to answer after one has matched. Slower ones are not waited for: a
 * resolver that hangs must not hold up requests for the channels of other entries.
 */
const OTHERS_MS = 100;

/** The channels of an endpoint, and how a requested name leads to one of them. */
export class Registry {
	/** The entries by their keys. */
	readonly entries: ReadonlyMap<string, RealtimeChannelConfig>;
	/** Time limit, in milliseconds, of a callback of the app. */
	readonly callbackTimeoutMs: number;
	readonly #report: Report;

	constructor(
		channels: Readonly<Record<string, RealtimeChannelConfig>>,
		options: { callbackTimeoutMs: number; report: Report }
	) {
		this.entries = new Map(Object.entries(channels));
		this.callbackTimeoutMs = options.callbackTimeoutMs;
		this.#report = options.report;
	}

	/** The channels as they were registered. */
	get channels(): ChannelLike[] {
		return [...this.entries.values()].map(({ channel }) => channel);
	}

	/** The feeds of `warm` entries. */
	get warmFeeds(): FeedSpec[] {
		return [...this.entries.values()]
			.filter(({ warm }) => warm)
			.map(({ channel, channelParams }) => this.feedOf(channel, { channelParams }).feed);
	}

	/**
	 * Finds the entry whose channel has the requested name.
	 *
	 * @throws {Failure} `channel-resolution`: 400 or 500, 503 when a resolver does not settle in time, 403 or
	 *   the status of `error()` when one denies; `topic-validation`: 400.
	 */
	async resolve(event: RequestEvent, subscription: SubscriptionRequest): Promise<Match> {
		const found: Found[] = [];
		const errors: unknown[] = [];
		let matched!: () => void;
		const match = new Promise<void>((resolve) => (matched = resolve));
		const all = Promise.all(
			[...this.entries].map(async ([entry, config]) => {
				try {
					const channel = await this.#resolveEntry(entry, config, event, subscription);
					if (channel.name !== subscription.channel) return;
					found.push({ entry, config, channel });
					matched();
				} catch (error) {
					errors.push(error);
				}
			})
		);
		await Promise.race([all, match]);
		await Promise.resolve(inTime(all, OTHERS_MS, () => new Error('late'))).catch(() => {});
		const [first] = found;
		if (!first) throw notFound(errors);
		if (found.length > 1) throw this.#ambiguous(subscription, found);
		void all.then(() => {
			const place = { event, channelId: subscription.channel };
			for (const error of errors) {
				if (isTimeout(error)) this.#report(unresolved(error), place);
			}
			if (found.length > 1) this.#report(this.#ambiguous(subscription, found), place);
		});
		return { ...first, topics: requestedTopics(first, subscription) };
	}

	/**
	 * The feed that serves a channel: it listens to all topics of the channel, whichever of them are read. A
	 * type-only channel lists none, so each set of requested topics has its own feed.
	 */
	feedSpec(
		{
			entry,
			config,
			channel
		}: Pick<Match, 'entry' | 'channel'> & { config?: RealtimeChannelConfig | undefined },
		requested: readonly string[]
	): FeedSpec {
		const topics = new Set(channel.topics.length > 0 ? channel.topics : requested);
		if (config?.run || requested.includes(RUN_TOPIC)) topics.add(RUN_TOPIC);
		return {
			channel: channel.name,
			entry,
			topics: [...topics].sort(),
			definitions: channel.definitions,
			callbackTimeoutMs: this.callbackTimeoutMs,
			source: config?.source === false ? emitOnlySource : config?.source,
			latest: latestOf(config),
			replay: config?.retention ?? config?.replay
		};
	}

	/**
	 * The feed of a channel that server code names, and the wanted topics.
	 *
	 * @throws {RealtimeError} `UNKNOWN_TOPIC` for a topic that the channel does not define.
	 */
	feedOf(
		channel: ChannelLike,
		options: { channelParams?: unknown; topics?: readonly string[] | undefined }
	): { feed: FeedSpec; topics: string[] } {
		const resolved = resolveChannel(channel, options.channelParams);
		const { name, topics: defined } = resolved;
		const topics = [...(options.topics ?? defined)];
		const unknown = topics.filter(
			(topic) => topic !== RUN_TOPIC && defined.length > 0 && !defined.includes(topic)
		);
		if (unknown.length > 0 || topics.length === 0) {
			throw new RealtimeError(
				'UNKNOWN_TOPIC',
				`Channel ${quoted(name)} has no such topics: ${unknown.map(printable).join(', ') || 'none were named'}.`
			);
		}
		const [served] = this.entriesOf(name, ({ channel }) => channel.topics === resolved.definitions);
		const [entry, config] = served ?? ([''] as const);
		return { feed: this.feedSpec({ entry, config, channel: resolved }, topics), topics };
	}

	/**
	 * The entries that may serve a channel of this name. An entry with a fixed name serves only that name, and
	 * no other entry serves it.
	 *
	 * @param isMeant Whether an entry uses the channel's definition.
	 */
	entriesOf(
		name: string,
		isMeant: (config: RealtimeChannelConfig) => boolean
	): [string, RealtimeChannelConfig][] {
		const entries = [...this.entries].filter(([, config]) => isMeant(config));
		const named = entries.filter(([, config]) => fixedName(config) === name);
		return named.length > 0
			? named
			: entries.filter(([, config]) => fixedName(config) === undefined);
	}

	async #resolveEntry(
		entry: string,
		{ channel, channelParams }: RealtimeChannelConfig,
		event: RequestEvent,
		{ channel: requested, params = {} }: SubscriptionRequest
	): Promise<ResolvedChannel> {
		const given: unknown = channelParams;
		const isResolver = typeof given === 'function';
		const builderParams: unknown = isResolver
			? await callApp('channelParams', this.callbackTimeoutMs, () =>
					given(event, requested, { ...params })
				)
			: given;
		try {
			return resolveChannel(channel, builderParams);
		} catch (cause) {
			const text = `Registry entry ${quoted(entry)} gives no channel for ${quoted(requested)}: ${printable((cause as Error).message)}`;
			const error = new RealtimeError('INVALID_OPTION', text, { cause });
			if (cause instanceof RealtimeError && isIncomplete(builderParams)) {
				throw new NoMatch(error, isResolver ? 'channelParams' : undefined);
			}
			throw isResolver ? new CallbackError('channelParams', 'fault', error) : error;
		}
	}

	#ambiguous({ channel }: SubscriptionRequest, found: readonly Found[]): Failure {
		const keys = [...this.entries.keys()].filter((key) => found.some(({ entry }) => entry === key));
		return new Failure('channel-resolution', 500, 'Realtime channel registry is ambiguous', {
			body: { requestedChannel: channel, matchingRegistryKeys: keys }
		});
	}
}

/**
 * An entry has no channel for a name, because a part of its channel's name is missing. This is one way for a
 * resolver to say that the name belongs to another entry.
 */
class NoMatch {
	readonly cause: RealtimeError;
	readonly callback: 'channelParams' | undefined;

	constructor(cause: RealtimeError, callback: 'channelParams' | undefined) {
		this.cause = cause;
		this.callback = callback;
	}
}

/** The name of an entry's channel, if it does not depend on the request. */
function fixedName({ channel, channelParams }: RealtimeChannelConfig): string | undefined {
	if (typeof channelParams === 'function') return undefined;
	try {
		return resolveChannel(channel, channelParams).name;
	} catch {
		return undefined;
	}
}

/** Whether some or all parameters are missing. */
function isIncomplete(params: unknown): boolean {
	if (typeof params !== 'object' || params === null) return params === undefined || params === null;
	const values = Object.values(params);
	return values.length === 0 || values.some((value) => value === undefined || value === null);
}

function latestOf(config: RealtimeChannelConfig | undefined): string[] {
	// The newest message may be hidden from a reader, who then needs the one before.
	if (config?.view) return [];
	return Object.entries<boolean | undefined>(config?.latest ?? {})
		.filter(([, isLatest]) => isLatest)
		.map(([topic]) => topic);
}

function isTimeout(error: unknown): boolean {
	return error instanceof CallbackError && error.kind === 'timeout';
}

/** A resolver may throw for names of other entries: that matters only if no entry matched. */
function notFound(errors: readonly unknown[]): Failure {
	const error = errors.find(isTimeout) ?? errors.find((error) => !(error instanceof NoMatch));
	if (error !== undefined) return unresolved(error);
	const noMatch = (errors as NoMatch[]).find(({ callback }) => callback);
	return new Failure('channel-resolution', 400, 'Requested channel is not available', {
		...noMatch
	});
}

function unresolved(error: unknown): Failure {
	const texts = { denied: TEXT.denied, fault: TEXT.resolution };
	return error instanceof CallbackError
		? error.asFailure('channel-resolution', texts, 500)
		: new Failure('channel-resolution', 500, texts.fault, { cause: error });
}

function requestedTopics(
	{ config: { run }, channel: { name, topics: defined } }: Found,
	{ topics: requested }: SubscriptionRequest
): string[] {
	// A type-only channel lists no topics: any name is valid.
	const isOpen = defined.length === 0;
	const available = run ? [...defined, RUN_TOPIC] : defined;
	if (!requested) {
		if (available.length > 0) return available;
		throw new Failure(
			'topic-validation',
			400,
			`Channel ${quoted(name)} lists no topics; name those to be read`
		);
	}
	const invalid = requested.filter(
		(topic) => !available.includes(topic) && !(isOpen && topic !== RUN_TOPIC)
	);
	if (invalid.length === 0) return requested;
	throw new Failure(
		'topic-validation',
		400,
		`Unknown topics: ${invalid.map(printable).join(', ')}`,
		{ body: { invalidTopics: invalid } }
	);
}
