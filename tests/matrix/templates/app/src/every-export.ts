// Uses every export of every entry, so that a type-check sees all of them as an app does.
import { getContext } from 'svelte';
import * as root from 'sveltekit-inngest';
import * as client from 'sveltekit-inngest/client';
import * as bus from 'sveltekit-inngest/bus';
import {
	createRealtimeBus,
	defineEvent,
	getRealtimeBus,
	getRealtimeBusChannel,
	getRealtimeBusPresence,
	getRealtimeBusRun,
	getRealtimeBusSend,
	getRealtimeBusState,
	getRealtimeBusTopicRows,
	getRealtimeBusTopicJson,
	getRealtimeBusTopicMessages,
	getRealtimeBusTopicState,
	getRealtimeBusTopicStream,
	onAsk,
	RealtimeError,
	RealtimeEventError,
	RealtimeManager,
	withPresence,
	type ChannelLike,
	type ChannelOf,
	type ChannelParams,
	type ChannelSource,
	type EmittedMessage,
	type EventDefinition,
	type HealthPayload,
	type HealthStatus,
	type MessageKind,
	type MessageOf,
	type Positioned,
	type Reactive,
	type ReactiveCurrent,
	type RealtimeBus,
	type RealtimeBusOptions,
	type RealtimeBusState,
	type RealtimeChannel,
	type RealtimeClientFailureContext,
	type RealtimeClientFailureSource,
	type RealtimeDataStream,
	type RealtimeErrorCode,
	type RealtimeHealthState,
	type RealtimeHookOptions,
	type RealtimeManagerProps,
	type RealtimeMessagesOptions,
	type RealtimeOnMessage,
	type RealtimePending,
	type RealtimePresence,
	type RealtimeReconnectOptions,
	type RealtimeRequestParam,
	type RealtimeRequestParams,
	type RealtimeResolvedSubscription,
	type RealtimeRun,
	type RealtimeRunOptions,
	type RealtimeRunState,
	type RealtimeRunStatus,
	type RealtimeSelect,
	type RealtimeSelected,
	type RealtimeSend,
	type RealtimeSent,
	type RealtimeServerFailureStage,
	type RealtimeStandaloneBus,
	type RealtimeStreamOptions,
	type RealtimeSubscription,
	type RealtimeTopicEnvelope,
	type RealtimeTopicMessage,
	type RealtimeTopicMessages,
	type RealtimeTopicOptions,
	type RealtimeTopicState,
	type RealtimeTopicStream,
	type RealtimeUnreadable,
	type ResyncPayload,
	type ResyncReason,
	type TopicData,
	type TopicKey,
	type TopicOf
} from 'sveltekit-inngest/client';
import {
	startInngestDev,
	type DevEventInput,
	type DevLogger,
	type DevPublishInput,
	type DevRun,
	type DevRunStatus,
	type InngestDev,
	type InngestDevOptions
} from 'sveltekit-inngest/dev';
import {
	createRealtime,
	createRealtimeEndpoint,
	MemoryReplayStore,
	RealtimeDenied,
	RealtimeError as ServerError,
	type PublishData,
	type PublishTarget,
	type Realtime,
	type RealtimeAuthorizeContext,
	type RealtimeAuthorizeResult,
	type RealtimeChannelConfig,
	type RealtimeEndpointOptions,
	type RealtimeEventAudit,
	type RealtimeHistory,
	type RealtimeMessage,
	type RealtimeViewContext,
	type RealtimeErrorCode as ServerErrorCode,
	type RealtimeHealthCheckOptions,
	type RealtimeIdentify,
	type RealtimeIdentifyResult,
	type RealtimeIdentity,
	type RealtimeItem,
	type RealtimeIterator,
	type RealtimeLimits,
	type RealtimeReauthorizeContext,
	type RealtimeResync,
	type RealtimeServerFailureContext,
	type RealtimeServerFailureHandler,
	type RealtimeServerFailureStage as ServerFailureStage,
	type RealtimeStats,
	type RealtimeSubscribeOptions,
	type ReplayedEvent,
	type ReplayEvent,
	type ReplayOptions,
	type ReplaySlice,
	type ReplayStore
} from 'sveltekit-inngest/server';
import * as endpoint from 'sveltekit-inngest/server/createRealtimeEndpoint';
import { inngestDev, type InngestDevPluginOptions } from 'sveltekit-inngest/vite';
import { z } from 'zod';
import { chat, news } from './lib/channels.js';
import { inngest } from './lib/inngest.js';

type Same<A, B> =
	(<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Fails to compile unless both types are the same. */
const same = <A, B>(...proof: Same<A, B> extends true ? [] : [never]): void => void proof;

// What is inferred must not be `any`, which a declaration that cannot be resolved would give.
same<TopicKey<typeof news>, 'story' | 'length'>();
same<TopicData<typeof news, 'story'>, { title: string; at: string }>();
same<TopicData<typeof news, 'length'>, number>();
same<TopicData<typeof chat>, { text: string }>();
same<ChannelParams<typeof chat>, string | readonly [string]>();
same<TopicOf<() => typeof news>, 'story' | 'length'>();
same<ChannelOf<() => typeof news>, typeof news>();
same<MessageOf<typeof chat>, Positioned<RealtimeTopicMessage<typeof chat, 'message'>>>();
same<RealtimeErrorCode, ServerErrorCode>();
same<RealtimeServerFailureStage, ServerFailureStage>();
same<typeof root, typeof client>();
same<typeof endpoint.createRealtimeEndpoint, typeof createRealtimeEndpoint>();

export const props: RealtimeManagerProps = {
	endpoint: '/api/events',
	subscriptions: [
		{ channel: news, topics: ['story'] },
		{ channel: chat, channelParams: 'lobby' }
	],
	reconnect: { minDelayMs: 100 } satisfies RealtimeReconnectOptions,
	onFailure: ({ source }: RealtimeClientFailureContext) =>
		void (source satisfies RealtimeClientFailureSource),
	onResync: ({ reason }: ResyncPayload) => void (reason satisfies ResyncReason)
};

export const subscription: RealtimeSubscription<typeof chat> = {
	channel: chat,
	channelParams: 'lobby',
	topics: ['message'],
	params: { page: 1 satisfies RealtimeRequestParam } satisfies RealtimeRequestParams
};

const say = defineEvent('chat/say', { schema: z.object({ text: z.string() }) });
same<typeof say.name, 'chat/say'>();
same<typeof bus.createRealtimeBus, typeof createRealtimeBus>();

/** A script. */
export async function script(): Promise<readonly EmittedMessage[]> {
	const options: RealtimeBusOptions = { endpoint: 'https://example.com/api/events' };
	const bus: RealtimeStandaloneBus = createRealtimeBus(options);
	bus.subscribe(news, { topics: ['length'] }, ({ data }) => void (data satisfies number));
	const { emitted } = await bus.send(say satisfies EventDefinition, { text: 'hello' });
	bus.close();
	return emitted;
}

/** A component's script. */
export function component(): unknown[] {
	const bus: RealtimeBus = getRealtimeBus();
	const resolved: readonly RealtimeResolvedSubscription[] = bus.subscriptions;
	const options: RealtimeHookOptions<typeof chat> = { channelParams: 'lobby', bus };

	const state: RealtimeBusState<typeof news> = getRealtimeBusState(news);
	const health: RealtimeHealthState = state.health;
	const status: HealthStatus = (health.current satisfies HealthPayload).status;
	const onMessage: RealtimeOnMessage<typeof news> = state.onMessage;
	const select: RealtimeSelect = state.select;
	const selected: RealtimeSelected = select('message');

	const whole: RealtimeChannel<typeof chat> = getRealtimeBusChannel(chat, options);
	same<typeof whole.topics.message.current, MessageOf<typeof chat, 'message'> | null>();

	const story = getRealtimeBusTopicState<typeof news, 'story'>(news, 'story');
	const current: ReactiveCurrent<MessageOf<typeof news, 'story'> | null> = story;
	const kind: MessageKind | undefined = current.current?.kind;
	const topicOptions: RealtimeTopicOptions<typeof news, 'length', number> = {
		map: ({ data }) => data,
		or: ({ previous }: RealtimeUnreadable<number>) => previous
	};
	const length: RealtimeTopicState<number | null> = getRealtimeBusTopicState(
		news,
		'length',
		topicOptions
	);
	const text = getRealtimeBusTopicJson(chat, 'message', {
		channelParams: (() => 'lobby') satisfies Reactive<string>,
		map: ({ data }) => data.text,
		initial: ''
	});

	const listOptions: RealtimeMessagesOptions<typeof news, 'length', number> = {
		map: ({ data }) => data,
		limit: 5
	};
	const list: RealtimeTopicMessages<number> = getRealtimeBusTopicMessages(
		news,
		'length',
		listOptions
	);
	const streamOptions: RealtimeStreamOptions<typeof news> = { limit: 1 };
	const stream: RealtimeTopicStream = getRealtimeBusTopicStream(news, 'story', streamOptions);
	const newest: RealtimeDataStream | null = stream.current;
	const runOptions: RealtimeRunOptions<typeof news> = { autoCloseOnTerminal: true };
	const run: RealtimeRunState<number> = getRealtimeBusRun<number>(news, runOptions);
	const known: RealtimeRun<number> = run.current;
	const runStatus: RealtimeRunStatus = known.status;
	const any: ChannelSource = (): ChannelLike => news;

	const rows = getRealtimeBusTopicRows(chat, 'message', {
		channelParams: 'lobby',
		key: 'text'
	});
	const send: RealtimeSend<typeof say> = getRealtimeBusSend(say);
	const pending: readonly RealtimePending<typeof say>[] = send.pending;
	const sent: Promise<RealtimeSent<typeof say>> = send({ text: 'hello' });
	if (send.error instanceof RealtimeEventError) return [send.error.fields.text];
	const present: RealtimePresence = getRealtimeBusPresence(news);
	const stopAnswering = onAsk(chat, 'message', ({ text }) => text.length, options);

	// @ts-expect-error no such topic
	getRealtimeBusTopicState(news, 'other');
	// @ts-expect-error the channel's name is made of a string
	getRealtimeBusState(chat, 1);
	// @ts-expect-error a topic that is not the channel's
	onMessage('message', () => {});

	return [
		...[resolved, status, onMessage, selected, whole, kind, length, text, list, newest, runStatus],
		...[rows, pending, sent, present, stopAnswering, withPresence],
		...[any, getContext(RealtimeManager), new RealtimeError('CLOSED', 'closed').code]
	];
}

const options: RealtimeEndpointOptions<{ news: typeof news; chat: typeof chat }> = {
	inngest,
	channels: {
		news: {
			channel: news,
			run: true,
			authorize: ({ topics }): RealtimeAuthorizeResult<(typeof topics)[number]> => ({
				allowedTopics: topics
			}),
			reauthorize: ({ message }) => message.topic === 'length' && message.data > 0,
			view: ({ message }) => (message.topic === 'story' ? message : null)
		},
		chat: {
			channel: chat,
			channelParams: (_event, id) => id.slice('chat:'.length),
			authorize: ({ topics }: RealtimeAuthorizeContext<'message'>) => topics.length === 1,
			reauthorize: ({ messageTopic }: RealtimeReauthorizeContext<'message'>) =>
				messageTopic === 'message'
		} satisfies RealtimeChannelConfig<typeof chat>
	},
	healthCheck: { intervalMs: 5_000 } satisfies RealtimeHealthCheckOptions,
	identify: (({ locals }): RealtimeIdentifyResult =>
		'user' in locals
			? ({ id: 'alice' } satisfies RealtimeIdentity)
			: null) satisfies RealtimeIdentify,
	limits: { maxLifetimeMs: 60_000 } satisfies RealtimeLimits,
	replay: new MemoryReplayStore({ maxEvents: 10 } satisfies ReplayOptions) satisfies ReplayStore,
	onEvent: ({ id }: RealtimeEventAudit) => console.log(id),
	onFailure: (({ stage }: RealtimeServerFailureContext) => ({
		message: stage
	})) satisfies RealtimeServerFailureHandler
};

export const POST = createRealtimeEndpoint(options);

export async function server(): Promise<unknown[]> {
	const realtime: Realtime = createRealtime(options);
	const stats: RealtimeStats = realtime.stats();
	const subscribeOptions: RealtimeSubscribeOptions<typeof news, 'length'> = { topics: ['length'] };
	const items: RealtimeIterator<RealtimeItem<typeof news, 'length'>> = realtime.subscribe(
		news,
		subscribeOptions
	);
	for await (const item of items) {
		if (item.kind === 'resync') return [item satisfies RealtimeResync];
		if (item.topic === 'length') same<typeof item.data, number>();
	}
	const history: RealtimeHistory<RealtimeMessage<typeof news, 'length'>> = await realtime.history(
		news,
		{ topics: ['length'] }
	);
	const view: RealtimeViewContext | undefined = undefined;
	const store = new MemoryReplayStore();
	const event: ReplayEvent = { key: 'a', kind: 'resync', topic: null, payload: '{}' };
	const slice: ReplaySlice = await (store as ReplayStore).since('news', 'cursor');
	const replayed: readonly ReplayedEvent[] = slice.events;
	const envelope: RealtimeTopicEnvelope | undefined = undefined;
	const target: PublishTarget | undefined = undefined;
	const data: PublishData<PublishTarget> | undefined = undefined;
	return [
		stats,
		history,
		view,
		event,
		replayed,
		envelope,
		target,
		data,
		ServerError,
		RealtimeDenied
	];
}

export async function engine(): Promise<DevRunStatus | undefined> {
	const logger: DevLogger = console;
	const dev: InngestDev = await startInngestDev({ logger } satisfies InngestDevOptions);
	await dev.send({ name: 'matrix/hello' } satisfies DevEventInput);
	dev.publish({ channel: 'news', topic: 'length', data: 'text' } satisfies DevPublishInput);
	const [run]: readonly DevRun[] = dev.runs;
	return run?.status;
}

export const entries = [root, client, endpoint, bus];
export const plugin = inngestDev({ port: 0 } satisfies InngestDevPluginOptions);
