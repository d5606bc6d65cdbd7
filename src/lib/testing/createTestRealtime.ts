import type { RequestEvent } from '@sveltejs/kit';
import { resolveChannel, type ChannelLike } from '../protocol/channel.js';
import type {
	EmittedMessage,
	EventAnswer,
	EventDefinition,
	EventInput,
	EventIssue,
	EventRefusal,
	EventResult
} from '../protocol/event.js';
import type { Positioned, RealtimeTopicEnvelope } from '../protocol/types.js';
import {
	createRealtime,
	MemoryReplayStore,
	RealtimeDenied,
	type Realtime,
	type RealtimeBackend,
	type RealtimeChannelConfig,
	type RealtimeEndpointOptions,
	type ReplayStore
} from '../server/index.js';
import type { EndFault } from './faults.js';
import { Line } from './line.js';
import { isStore, Outage } from './outage.js';
import { TestSource } from './source.js';

/** Options of `createTestRealtime`: those of `createRealtime`, without an Inngest client. */
export type TestRealtimeOptions<
	TChannels extends Record<string, ChannelLike>,
	TEvents extends Record<string, EventDefinition> = Record<string, EventDefinition>
> = Omit<RealtimeEndpointOptions<TChannels, TEvents>, 'inngest'> & {
	/** `event.locals` of requests made with `fetch`; a function is called for each request. @default {} */
	locals?: App.Locals | (() => App.Locals);
};

/** An event that the endpoint sent to Inngest. */
export interface TestQueuedEvent {
	id: string;
	name: string;
	data: unknown;
	v: string;
}

/** The result of sending an event. */
export interface TestSent<TEvent extends EventDefinition = EventDefinition> {
	id: string;
	/** HTTP status of the answer: 200 if the event was accepted. */
	httpStatus: number;
	/** Set if the event was accepted. */
	status?: 'done' | 'queued';
	/** The result of the handler, as the page sees it. */
	result?: EventResult<TEvent>;
	/** The messages that the handler emitted, in order, as readers see them. */
	emitted: Positioned<RealtimeTopicEnvelope>[];
	/** The events that were sent to Inngest. */
	queued: TestQueuedEvent[];
	/** The text that the page sees if the event was refused. */
	error?: string;
	/** What does not match the schema, if the event was refused because of its data. */
	issues?: EventIssue[];
}

/** A realtime endpoint without Inngest and without a network, with controls for tests. */
export interface TestRealtime<
	TChannels extends Record<string, ChannelLike> = Record<string, ChannelLike>,
	TEvents extends Record<string, EventDefinition> = Record<string, EventDefinition>
> extends Realtime<TChannels, TEvents> {
	/** Sends a request to the endpoint in this process; pass it to `<RealtimeManager fetch>`. */
	fetch: typeof globalThis.fetch;
	/**
	 * A `fetch` for somebody else's requests, for tests with several people.
	 *
	 * @param locals `event.locals` of its requests.
	 * @example
	 * ```ts
	 * const alice = realtime.as({ user: { name: 'alice', role: 'member' } });
	 * ```
	 */
	as(locals: App.Locals): typeof globalThis.fetch;
	/**
	 * Loses the source of messages: streams stay open and show `connecting`. Messages published until `restore`
	 * are lost.
	 */
	lose(reason?: string): void;
	/** The source is back: pages get a `resync`. */
	restore(): void;
	/**
	 * Sends an event as a page does: it is authorized, validated and run in this process.
	 *
	 * @param options `locals` for this request; an `id`, to send an event again.
	 * @returns the answer, whether the event was accepted or not, with what its handler emitted.
	 * @example
	 * ```ts
	 * const { result, emitted } = await realtime.send(createOrder, { product: 'tea' }, { locals: { user } });
	 * ```
	 */
	send<TEvent extends EventDefinition>(
		event: TEvent,
		data: EventInput<TEvent>,
		options?: { locals?: App.Locals; id?: string }
	): Promise<TestSent<TEvent>>;
	/** Breaks all streams that were opened with `fetch`, as a network does. They come back by themselves. */
	cut(): void;
	/**
	 * Nothing arrives on any stream, not even a sign of life, until the returned function is called, as if
	 * the network swallowed everything. What was held back arrives then.
	 */
	silence(): EndFault;
	/**
	 * Each piece of a stream arrives this much later, one after the other, until the returned function is
	 * called. A reader that falls more than `limits.maxBufferedBytes` behind is closed, as in production.
	 *
	 * @param delayMs Milliseconds.
	 * @throws {RealtimeError} `INVALID_OPTION` when it is not a duration.
	 */
	slow(delayMs: number): EndFault;
	/**
	 * Tells all readers that messages may be missing, as after a failure of the source. For channels with
	 * `source: false`, use `clear`.
	 */
	resync(): void;
	/**
	 * Denies a channel to everybody until the returned function is called. The rights of open streams are
	 * checked at once, as with `recheck`: pages that read it end for good, with 403.
	 *
	 * @param channel Name of the channel, a channel, or its definition. @default all channels
	 * @param options `channelParams`: a builder's only argument, or a list of its arguments. `message`: the text
	 *   for browsers.
	 * @example
	 * ```ts
	 * const allow = realtime.deny(demoChannel);
	 * ```
	 */
	deny(
		channel?: string | ChannelLike,
		options?: { channelParams?: unknown; message?: string }
	): EndFault;
	/**
	 * Every call to the `backend` fails until the returned function is called, so that `emit` rejects with
	 * `BACKEND`. Without a backend, the log in the memory of this process fails instead.
	 */
	backendDown(): EndFault;
}

/**
 * Creates an endpoint for tests. It is the real one, without Inngest: `publish` and `emit` deliver at once.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work.
 * @example
 * ```ts
 * const realtime = createTestRealtime({
 *   channels: { demo: { channel: demoChannel, authorize: () => true } }
 * });
 * const response = await realtime.fetch('/api/events', {
 *   method: 'POST',
 *   body: JSON.stringify({ channel: 'demo' })
 * });
 * await realtime.emit(demoChannel().message, { message: 'hello' });
 * ```
 */
export function createTestRealtime<
	const TChannels extends Record<string, ChannelLike>,
	const TEvents extends Record<string, EventDefinition> = Record<string, EventDefinition>
>({
	locals = {} as App.Locals,
	...options
}: TestRealtimeOptions<TChannels, TEvents>): TestRealtime<TChannels, TEvents> {
	const source = new TestSource();
	const line = new Line();
	const outage = new Outage();
	const denials = new Set<Denial>();
	const channels = Object.fromEntries(
		Object.entries((options.channels ?? {}) as Record<string, RealtimeChannelConfig>).map(
			([key, config]) => {
				const { authorize } = config;
				if (typeof authorize !== 'function') return [key, { source, ...config }];
				const deniable: typeof authorize = (context) => {
					for (const { channel, message } of denials) {
						if (channel === undefined || channel === context.channelId) {
							throw new RealtimeDenied(message);
						}
					}
					return authorize(context);
				};
				return [key, { source, ...config, authorize: deniable }];
			}
		)
	) as unknown as RealtimeEndpointOptions<TChannels, TEvents>['channels'];
	const queued: TestQueuedEvent[] = [];
	const realtime = createRealtime({
		...options,
		...withOutage(options, outage),
		channels,
		inngest: fakeInngest(source, queued)
	});

	async function ask(
		input: string | URL | Request,
		init?: RequestInit,
		own?: App.Locals
	): Promise<Response> {
		const url = new URL(input instanceof Request ? input.url : input, 'http://test.local');
		const request = new Request(input instanceof Request ? input : url, {
			...init,
			// The signal ends the body below, as it does for a real request.
			signal: null
		});
		const given = own ?? (typeof locals === 'function' ? locals() : locals);
		const event = eventOf(request, url, given);
		const response = await (request.method === 'POST' ? realtime.POST : realtime.GET)(event);
		if (!response.body) return response;
		const body = line.carry(response.body, init?.signal ?? undefined);
		return new Response(body, response);
	}

	/** The messages that a handler emitted, as readers see them. */
	async function messagesOf(emitted: readonly EmittedMessage[]): Promise<unknown[]> {
		const channels = new Set(emitted.map(({ channel }) => channel));
		const logs = await Promise.all(
			[...channels].map(async (name) => {
				const named = emitted.filter(({ channel }) => channel === name);
				const entry = Object.values<{ channel: ChannelLike }>(options.channels).find(
					({ channel }) => named.every(({ topic }) => Object.hasOwn(channel.topics, topic))
				);
				const channel = { name, topics: entry!.channel.topics };
				return (await realtime.history(channel, { limit: 1_000 })).messages;
			})
		);
		const messages = logs.flat();
		return emitted.map(({ channel, cursor }) =>
			messages.find((message) => message.channel === channel && message.cursor === cursor)
		);
	}

	return {
		...realtime,
		fetch: (input, init) => ask(input, init),
		as: (locals) => (input, init) => ask(input, init, locals),
		async send(event, data, { id = crypto.randomUUID(), locals: own } = {}) {
			const body = JSON.stringify({ event: event.name, id, data, v: event.version });
			const response = await ask('/api/events', { method: 'POST', body }, own);
			const { emitted = [], ...answer } = (await response.json()) as Partial<EventAnswer> &
				Partial<EventRefusal>;
			return {
				id,
				httpStatus: response.status,
				...answer,
				emitted: await messagesOf(emitted),
				queued: queued.filter((one) => one.id.endsWith(`:${id}`))
			} as never;
		},
		lose: (reason = 'The test took the source away.') => source.lose(reason),
		restore: () => source.restore(),
		cut: () => line.cut(),
		silence: () => line.silence(),
		slow: (delayMs) => line.slow(delayMs),
		resync() {
			source.lose('The test asked for it.');
			source.restore();
		},
		deny(channel, { channelParams, message } = {}) {
			const name =
				channel === undefined || typeof channel === 'string'
					? channel
					: resolveChannel(channel, channelParams).name;
			const denial: Denial = { channel: name, message };
			denials.add(denial);
			// Its readers learn of it by themselves.
			void realtime.recheck().catch(() => {});
			return () => void denials.delete(denial);
		},
		backendDown: () => outage.begin()
	};
}

/** A denial. */
interface Denial {
	/** Name of the channel. @default all channels */
	channel: string | undefined;
	message: string | undefined;
}

/** The store of the endpoint's messages, which a test can make unavailable. */
function withOutage(
	{
		backend,
		replay
	}: Pick<RealtimeEndpointOptions<Record<string, ChannelLike>>, 'backend' | 'replay'>,
	outage: Outage
): { backend?: RealtimeBackend; replay?: ReplayStore } {
	const shared = backend && { backend: outage.backend(backend) };
	if (replay === false || backend?.replay) return { ...shared };
	const store = isStore(replay) ? replay : new MemoryReplayStore(replay);
	return { ...shared, replay: outage.store(store) };
}

/** The parts of an Inngest client that the endpoint needs; publishing goes straight to the source. */
function fakeInngest(
	source: TestSource,
	queued: TestQueuedEvent[]
): RealtimeEndpointOptions['inngest'] {
	const client = {
		id: 'test',
		send: async (event: TestQueuedEvent) => void queued.push(event),
		inngestApi: {
			getTargetUrl: (): never => {
				throw new Error('A test endpoint does not talk to Inngest.');
			},
			publish({ channel, topics }: { channel: string; topics: string[] }, json: string) {
				for (const topic of topics) source.deliver(channel, topic, JSON.parse(json));
				return Promise.resolve({ ok: true });
			}
		}
	};
	return client;
}

function eventOf(request: Request, url: URL, locals: App.Locals): RequestEvent {
	const event = {
		request,
		url,
		locals,
		params: {},
		route: { id: null },
		platform: undefined,
		isDataRequest: false,
		isSubRequest: false,
		getClientAddress: () => '127.0.0.1',
		setHeaders() {},
		fetch: globalThis.fetch
	};
	return event as unknown as RequestEvent;
}
