import { RealtimeBus, type BusSettings } from '../client/bus/bus.js';
import { busContext } from '../client/bus/context.js';
import { resolveSubscriptions } from '../client/subscriptions.js';
import type {
	ChannelOf,
	CheckedSubscriptions,
	RealtimeSubscription,
	TopicOf
} from '../client/types.js';
import { resolveChannel, type ChannelLike } from '../protocol/channel.js';
import { RealtimeError } from '../protocol/errors.js';
import type {
	EventDefinition,
	EventInput,
	EventIssue,
	EventRequest,
	EventResult
} from '../protocol/event.js';
import type { HealthPayload, HealthStatus, ResyncReason } from '../protocol/health.js';
import type { PresenceData, PresenceRequest } from '../protocol/presence.js';
import type { Jsonify, RealtimeTopicEnvelope, TopicData } from '../protocol/types.js';
import { TEXT } from '../server/failure/failure.js';
import type { EndFault } from './faults.js';
import { TestPresence } from './presence.js';
import { TestTransport } from './transport.js';

/** The channels of a list of subscriptions. */
type ChannelsOf<TSubscriptions extends readonly RealtimeSubscription[]> =
	TSubscriptions[number]['channel'];

/** The channels of a list that have a topic. */
type WithTopic<TChannel extends ChannelLike, TTopic extends string> = TChannel extends ChannelLike
	? TTopic extends TopicOf<TChannel>
		? TChannel
		: never
	: never;

/** The data of a topic, in any channel of a list. */
type DataOf<TChannel extends ChannelLike, TTopic extends string> = TChannel extends ChannelLike
	? TTopic extends TopicOf<TChannel>
		? TopicData<ChannelOf<TChannel>, TTopic>
		: never
	: never;

/** Topics of all channels of a list. */
type TopicsOf<TChannel extends ChannelLike> =
	(TChannel extends ChannelLike ? TopicOf<TChannel> : never) | '$run';

/** Names a channel of a test bus. */
export interface TestBusTarget<TChannel extends ChannelLike = ChannelLike> {
	/** Name of the channel, the channel, or its definition. @default the only channel that fits */
	channel?: string | TChannel;
	/** A builder's only argument, or a list of its arguments. */
	channelParams?: unknown;
}

/** Further fields of a message of a test bus. */
export type TestBusMessage = Partial<
	Pick<RealtimeTopicEnvelope, 'kind' | 'runId' | 'streamId' | 'createdAt' | 'history'>
>;

/** An event that a component sent. */
export interface TestBusEvent {
	/** Name of the event. */
	event: string;
	id: string;
	/** After JSON. */
	data: unknown;
}

/** An error that an answer may throw. */
interface TestRefusal {
	status?: number;
	message?: string;
	body?: { message?: string };
	issues?: readonly EventIssue[];
}

/** Options of `createTestBus`. */
export interface TestBusOptions extends Omit<BusSettings, 'enabled'> {
	/** Minimum time between two updates of components, in milliseconds; `0` updates with every message. @default 0 */
	bufferIntervalMs?: number;
}

/** A bus without a network. Hooks and components use it like the bus of a `RealtimeManager`. */
export class TestBus<TChannel extends ChannelLike = ChannelLike> extends RealtimeBus {
	readonly #transport: () => TestTransport;
	readonly #answers = new Map<string, (data: unknown, context: { id: string }) => unknown>();
	/** By the name of the event: functions that try to answer it again. */
	readonly #unanswered = new Map<string, (() => void)[]>();
	readonly #sent: TestBusEvent[] = [];
	/** By the name of the channel. */
	readonly #presences = new Map<string, TestPresence>();

	/** @internal */
	constructor(subscriptions: readonly RealtimeSubscription[], options: TestBusOptions) {
		const active = resolveSubscriptions(subscriptions);
		let transport: TestTransport | undefined;
		super({
			subscriptions: () => active,
			connect: (owner) => (transport ??= new TestTransport(owner)),
			settings: () => ({ bufferIntervalMs: 0, endpoint: '', fetch: this.#fetch, ...options })
		});
		this.#transport = () => {
			if (!transport) throw new Error('The transport is created by `update`.');
			return transport;
		};
		this.update({ endpoint: '', subscriptions: active });
	}

	/**
	 * Answers events that are sent by this bus, until another answer is given. Without an answer, events
	 * stay pending.
	 *
	 * @param answer Plays the handler: gets the data after JSON and returns the result. If it throws, the event
	 *   is refused: SvelteKit's `error(status, message)`, or an object with `status`, `message` and `issues`;
	 *   anything else is 500.
	 * @example
	 * ```ts
	 * bus.answer(createOrder, ({ product }) => ({ orderId: product }));
	 * ```
	 */
	answer<TEvent extends EventDefinition>(
		{ name }: TEvent,
		answer: (
			data: Jsonify<EventInput<TEvent>>,
			context: { id: string }
		) => EventResult<TEvent> | PromiseLike<EventResult<TEvent>>
	): void {
		this.#answers.set(name, answer as (data: unknown, context: { id: string }) => unknown);
		for (const retry of this.#unanswered.get(name) ?? []) retry();
		this.#unanswered.delete(name);
	}

	/** Events that were sent by this bus, in order, without repeats. */
	get sent(): readonly TestBusEvent[] {
		return this.#sent;
	}

	/**
	 * The context for components that are mounted without a surrounding `RealtimeManager`:
	 * `render(Panel, { context: bus.context })`.
	 */
	get context(): Map<symbol, unknown> {
		return busContext(this);
	}

	/**
	 * Delivers a message, as if the server had sent it.
	 *
	 * @param data What subscribers read: the output of the topic's schema, after JSON.
	 * @param options Names the channel if several have the topic; may set further fields of the message.
	 * @throws {RealtimeError} `INVALID_OPTION` when it is not clear which channel is meant, `CHANNEL_NOT_ACTIVE`
	 * when the channel is not subscribed, `UNKNOWN_TOPIC` when its subscription does not request the topic.
	 * @example
	 * ```ts
	 * bus.emit('message', { message: 'Hello' });
	 * bus.emit('message', { message: 'Hello' }, { channel: userChannel, channelParams: 'alice' });
	 * ```
	 */
	emit<
		TTopic extends TopicsOf<TChannel>,
		TTarget extends WithTopic<TChannel, TTopic> = WithTopic<TChannel, TTopic>
	>(
		topic: TTopic,
		data: TTopic extends '$run' ? unknown : DataOf<TTarget, TTopic>,
		{ channel, channelParams, ...message }: TestBusTarget<TTarget> & TestBusMessage = {}
	): void {
		const fitting = this.#transport().channels.filter((id) => this.topics(id).includes(topic));
		const [target, another] =
			channel === undefined ? fitting : [this.#find(channel, channelParams)];
		if (target === undefined || (channel !== undefined && !fitting.includes(target))) {
			throw new RealtimeError(
				'UNKNOWN_TOPIC',
				`Topic "${topic}" is not subscribed${target === undefined ? '' : ` on realtime channel "${target}"`}.`
			);
		}
		if (another !== undefined) {
			throw new RealtimeError(
				'INVALID_OPTION',
				`Several realtime channels have the topic "${topic}": ${fitting.join(', ')}. Name one: emit(topic, data, { channel }).`
			);
		}
		this.#transport().message({
			channel: target,
			topic,
			data,
			createdAt: new Date().toISOString(),
			kind: topic === '$run' ? 'run' : 'data',
			...message
		});
	}

	/**
	 * Sets the health of a channel, or of all of them. Channels are `connected` until it is called.
	 *
	 * @param options Names a channel; may set further fields: `detail`, `code`, `stage`, `fatal`.
	 * @throws {RealtimeError} `CHANNEL_NOT_ACTIVE` when the channel is not subscribed.
	 * @example
	 * ```ts
	 * bus.health('degraded', { detail: 'Denied', code: 403, fatal: true });
	 * ```
	 */
	health(
		status: HealthStatus,
		{
			channel,
			channelParams,
			...more
		}: TestBusTarget<TChannel> & Partial<Omit<HealthPayload, 'channel' | 'status'>> = {}
	): void {
		for (const target of this.#targets(channel, channelParams)) {
			this.#transport().health(target, status, more);
		}
	}

	/**
	 * Announces that messages of a channel, or of all of them, may be missing.
	 *
	 * @throws {RealtimeError} `CHANNEL_NOT_ACTIVE` when the channel is not subscribed.
	 */
	resync(
		reason: ResyncReason = 'restart',
		{ channel, channelParams }: TestBusTarget<TChannel> = {}
	): void {
		for (const target of this.#targets(channel, channelParams)) {
			this.#transport().resync(target, reason);
		}
	}

	/**
	 * The connection breaks: all channels show `connecting`, and nothing arrives until the returned function
	 * is called. What was emitted meanwhile is replayed then, and what was sent is answered.
	 *
	 * @example
	 * ```ts
	 * const restore = bus.cut();
	 * bus.emit('message', { message: 'Missed' });
	 * restore();
	 * ```
	 */
	cut(): EndFault {
		return this.#transport().cut();
	}

	/**
	 * Nothing arrives until the returned function is called, and health does not say so, as if the
	 * network swallowed everything. What was emitted meanwhile arrives then.
	 */
	silence(): EndFault {
		return this.#transport().silence();
	}

	/**
	 * Everything arrives later, in the same order, until the returned function is called. What is still on
	 * its way arrives then.
	 *
	 * @param delayMs Milliseconds.
	 * @throws {RealtimeError} `INVALID_OPTION` when it is not a duration.
	 */
	slow(delayMs: number): EndFault {
		return this.#transport().slow(delayMs);
	}

	/**
	 * A channel, or all of them, may not be read any more: health is a fatal `degraded` with 403, and nothing
	 * arrives until the returned function is called. What was emitted meanwhile is replayed then.
	 *
	 * @throws {RealtimeError} `CHANNEL_NOT_ACTIVE` when the channel is not subscribed.
	 */
	deny(
		channel?: string | TChannel,
		{
			channelParams,
			message = TEXT.revoked
		}: Pick<TestBusTarget, 'channelParams'> & { message?: string } = {}
	): EndFault {
		const name = channel === undefined ? undefined : this.#find(channel, channelParams);
		return this.#transport().deny(name, message);
	}

	/**
	 * The server's backend is away until the returned function is called: messages still arrive, and health
	 * says in its `detail` that what is missed cannot be replayed.
	 */
	backendDown(): EndFault {
		return this.#transport().backendDown();
	}

	/**
	 * Who is in a channel: sets the members, and shows what the component sent with `update()`.
	 *
	 * @throws {RealtimeError} `CHANNEL_NOT_ACTIVE` when the channel is not subscribed.
	 * @example
	 * ```ts
	 * const people = bus.presence(boardChannel);
	 * people.set([{ id: 'alice', data: { name: 'Alice' } }], { self: 'alice' });
	 * people.join({ id: 'bob', data: { name: 'Bob' } });
	 * expect(people.updates).toEqual([]);
	 * ```
	 */
	presence<TTarget extends TChannel>(
		channel: TTarget,
		{ channelParams }: Pick<TestBusTarget, 'channelParams'> = {}
	): TestPresence<PresenceData<ChannelOf<TTarget>>> {
		const name = this.#find(channel, channelParams);
		let presence = this.#presences.get(name);
		if (!presence) {
			presence = new TestPresence(name, (payload) => this.#transport().presence(payload));
			this.#presences.set(name, presence);
		}
		return presence as TestPresence<unknown> as never;
	}

	/** The response that the endpoint would give. */
	readonly #fetch: typeof globalThis.fetch = async (_input, init) => {
		const body = JSON.parse(String(init?.body)) as EventRequest & { presence?: PresenceRequest };
		if (body.presence) {
			this.#presences.get(body.presence.stream)?.take(body.presence);
			return new Response(null, { status: 204 });
		}
		if (!Object.hasOwn(body, 'event')) return new Response(null, { status: 204 });
		const { event, id, data } = body;
		if (!this.#sent.some((other) => other.id === id)) this.#sent.push({ event, id, data });
		await this.#transport().passed();
		const answer = this.#answers.get(event);
		if (!answer) {
			await new Promise<void>((resolve) =>
				this.#unanswered.set(event, [...(this.#unanswered.get(event) ?? []), resolve])
			);
			return this.#fetch(_input, init);
		}
		try {
			const result = await answer(data, { id });
			return Response.json({ id, status: 'done', result, emitted: [] });
		} catch (thrown) {
			const { status = 500, message, body, issues } = (thrown ?? {}) as TestRefusal;
			return Response.json({ error: body?.message ?? message, issues }, { status });
		}
	};

	#targets(channel: string | ChannelLike | undefined, params: unknown): readonly string[] {
		return channel === undefined ? this.#transport().channels : [this.#find(channel, params)];
	}

	#find(channel: string | ChannelLike, params: unknown): string {
		const name = typeof channel === 'string' ? channel : resolveChannel(channel, params).name;
		if (this.#transport().channels.includes(name)) return name;
		throw new RealtimeError(
			'CHANNEL_NOT_ACTIVE',
			`Realtime channel "${name}" is not active. Add it to the subscriptions of createTestBus().`
		);
	}
}

/**
 * A bus without a server, for tests of components: pass it to `<RealtimeManager {bus}>`, to hooks as
 * `{ bus }`, or mount a component with `bus.context`. Everything else works as in an app.
 *
 * @param subscriptions The subscriptions that a `RealtimeManager` would get.
 * @throws {RealtimeError} as `RealtimeManager` does, when the subscriptions are invalid.
 * @example
 * ```ts
 * const bus = createTestBus([{ channel: demoChannel }]);
 * render(Panel, { context: bus.context });
 * bus.emit('message', { message: 'Hello' });
 * ```
 */
export function createTestBus<const TSubscriptions extends readonly RealtimeSubscription[]>(
	subscriptions: TSubscriptions & CheckedSubscriptions<TSubscriptions>,
	options: TestBusOptions = {}
): TestBus<ChannelsOf<TSubscriptions>> {
	return new TestBus(subscriptions, options);
}
