import type {
	AnyTRPCRootTypes,
	TRPCBuiltRouter,
	TRPCMutationProcedure,
	TRPCQueryProcedure,
	TRPCRootObject,
	TRPCRuntimeConfigOptions,
	TRPCSubscriptionProcedure
} from '@trpc/server';
import type { ChannelLike } from '../protocol/channel.js';
import type { EventAnswer, EventDefinition } from '../protocol/event.js';
import type { Realtime } from '../server/index.js';
import { ask } from './endpoint.js';
import { badInput, refusalOf } from './errors.js';
import { subscribe } from './subscribe.js';
import type {
	RealtimeTrpcContext,
	RealtimeTrpcEvent,
	RealtimeTrpcHistory,
	RealtimeTrpcHistoryInput,
	RealtimeTrpcItem,
	RealtimeTrpcSent,
	RealtimeTrpcSubscription,
	RealtimeTrpcTracked
} from './types.js';

type Channels = Record<string, ChannelLike>;
type Events = Record<string, EventDefinition>;

/** The result of `realtimeRouter`: a router with three procedures. */
export type RealtimeTrpcRouter<
	TRoot extends AnyTRPCRootTypes,
	TChannels extends Channels,
	TEvents extends Events
> = TRPCBuiltRouter<
	TRoot,
	{
		/** Sends an event to its handler. */
		sendEvent: TRPCMutationProcedure<
			Procedure<TRoot, RealtimeTrpcEvent<TEvents>, RealtimeTrpcSent<TEvents>>
		>;
		/** Follows a channel. */
		subscribe: TRPCSubscriptionProcedure<
			Procedure<
				TRoot,
				RealtimeTrpcSubscription<TChannels>,
				AsyncIterable<RealtimeTrpcTracked<RealtimeTrpcItem<TChannels>>, void, void>
			>
		>;
		/** Reads the messages that are still in the log of a channel. */
		fetchHistory: TRPCQueryProcedure<
			Procedure<TRoot, RealtimeTrpcHistoryInput<TChannels>, RealtimeTrpcHistory<TChannels>>
		>;
	}
>;

interface Procedure<TRoot extends AnyTRPCRootTypes, TInput, TOutput> {
	input: TInput;
	output: TOutput;
	meta: TRoot['meta'];
	errorShape: TRoot['errorShape'];
}

/**
 * A router for tRPC 11 that serves an endpoint: the same channels and events, with the same `authorize`,
 * limits and failures.
 *
 * @param t The result of `initTRPC.context<{ event: RequestEvent }>().create()`. The context must have
 *   SvelteKit's `event`.
 * @param realtime The result of `createRealtime()`.
 * @example
 * ```ts
 * const t = initTRPC.context<{ event: RequestEvent }>().create();
 * export const appRouter = t.router({ realtime: realtimeRouter(t, realtime) });
 * ```
 */
export function realtimeRouter<
	TContext extends RealtimeTrpcContext,
	TMeta extends object,
	TOptions extends TRPCRuntimeConfigOptions<TContext, TMeta>,
	TRoot extends AnyTRPCRootTypes,
	TChannels extends Channels,
	TEvents extends Events
>(
	t: TRPCRootObject<TContext, TMeta, TOptions, TRoot>,
	realtime: Realtime<TChannels, TEvents>
): RealtimeTrpcRouter<TRoot, TChannels, TEvents> {
	const { procedure, router } = t as unknown as TRPCRootObject<RealtimeTrpcContext, object, object>;
	return router({
		sendEvent: procedure
			.input((input) => objectOf<RealtimeTrpcEvent>(input))
			.mutation(async ({ ctx, input }): Promise<RealtimeTrpcSent> => {
				const { name, payload, clientEventId = crypto.randomUUID() } = input;
				const body = { event: name, id: clientEventId, data: payload };
				const response = await ask(realtime, ctx.event, body);
				if (!response.ok) throw await refusalOf(response);
				const { status, result, emitted } = (await response.json()) as EventAnswer;
				return {
					status,
					...(result !== undefined && { result }),
					...(status === 'done' && { emittedEvents: emitted })
				};
			}),
		subscribe: procedure
			.input((input) => objectOf<RealtimeTrpcSubscription>(input))
			.subscription(({ ctx, input, signal }) => subscribe(realtime, ctx.event, input, signal)),
		fetchHistory: procedure
			.input((input) => objectOf<RealtimeTrpcHistoryInput>(input))
			.query(async ({ ctx, input }): Promise<RealtimeTrpcHistory> => {
				const { channel, topics, params, since, before, limit } = input;
				const read = { channel, topics, params, since, before, limit };
				const response = await ask(realtime, ctx.event, { read });
				if (!response.ok) throw await refusalOf(response);
				return (await response.json()) as RealtimeTrpcHistory;
			})
	}) as unknown as RealtimeTrpcRouter<TRoot, TChannels, TEvents>;
}

/** The endpoint checks the content. */
function objectOf<T>(input: unknown): T {
	if (typeof input === 'object' && input !== null) return input as T;
	throw badInput('The input must be an object.');
}
