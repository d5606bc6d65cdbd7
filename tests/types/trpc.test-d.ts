import type { RequestEvent } from '@sveltejs/kit';
import { createTRPCClient } from '@trpc/client';
import { initTRPC, type inferRouterInputs, type inferRouterOutputs } from '@trpc/server';
import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { createRealtime, defineEvent } from '../../src/lib/server/index.js';
import { createTestRealtime } from '../../src/lib/testing/index.js';
import {
	realtimeErrorData,
	realtimeRouter,
	type RealtimeTrpcErrorData
} from '../../src/lib/trpc/index.js';
import { demoChannel, userChannel } from '../support/channels.js';

const createOrder = defineEvent('orders/create', {
	schema: z.object({ product: z.string(), count: z.number().default(1) }),
	result: z.object({ orderId: z.string(), at: z.date() })
});
const cancel = defineEvent('orders/cancel', { schema: z.object({ orderId: z.string() }) });

const options = {
	channels: {
		demo: { channel: demoChannel, authorize: () => true },
		user: { channel: userChannel, authorize: () => true }
	},
	events: {
		createOrder: { event: createOrder, authorize: () => true },
		cancel: { event: cancel, authorize: () => true }
	}
} as const;
const realtime = createRealtime({ inngest: { id: 'x' }, ...options });
const t = initTRPC.context<{ event: RequestEvent; user: string }>().create();
const appRouter = t.router({
	realtime: realtimeRouter(t, realtime),
	hello: t.procedure.query(() => 'hello')
});
type Router = typeof appRouter;
type Inputs = inferRouterInputs<Router>['realtime'];
type Outputs = inferRouterOutputs<Router>['realtime'];
const client = createTRPCClient<Router>({ links: [] });

test('events: name and payload belong together', () => {
	expectTypeOf<Inputs['sendEvent']>().toEqualTypeOf<
		| {
				name: 'orders/create';
				payload: { product: string; count?: number | undefined };
				clientEventId?: string;
		  }
		| { name: 'orders/cancel'; payload: { orderId: string }; clientEventId?: string }
	>();
	void (async () => {
		const sent = await client.realtime.sendEvent.mutate({
			name: 'orders/create',
			payload: { product: 'tea' }
		});
		expectTypeOf(sent.status).toEqualTypeOf<'done' | 'queued'>();
		// @ts-expect-error Another event's payload.
		void client.realtime.sendEvent.mutate({ name: 'orders/cancel', payload: { product: 'tea' } });
		// @ts-expect-error No such event.
		void client.realtime.sendEvent.mutate({ name: 'orders/other', payload: {} });
	});
});

test('subscriptions: topics of the channels, messages and gaps with their cursors', () => {
	expectTypeOf<NonNullable<Inputs['subscribe']['topics']>[number]>().toEqualTypeOf<
		'message' | 'admin-message' | '$run'
	>();
	client.realtime.subscribe.subscribe(
		{ channel: 'demo', topics: ['message'], params: { a: 1 }, lastEventId: 'a-1' },
		{
			onData({ id, data }) {
				expectTypeOf(id).toBeString();
				if (data.kind === 'resync') {
					expectTypeOf(data.reason).toEqualTypeOf<
						'expired' | 'restart' | 'idle' | 'upstream-gap'
					>();
				} else if (data.topic === 'message') {
					expectTypeOf(data.data).toEqualTypeOf<{ message: string }>();
					expectTypeOf(data.cursor).toBeString();
				}
			}
		}
	);
	// @ts-expect-error No channel was named.
	client.realtime.subscribe.subscribe({ topics: ['message'] }, {});
	// @ts-expect-error No such topic.
	client.realtime.subscribe.subscribe({ channel: 'demo', topics: ['other'] }, {});
});

test('history: messages, and where to go on', () => {
	expectTypeOf<Inputs['fetchHistory']['since']>().toEqualTypeOf<string | Date | undefined>();
	expectTypeOf<Outputs['fetchHistory']['cursor']>().toBeString();
	expectTypeOf<Outputs['fetchHistory']['messages'][number]['cursor']>().toBeString();
});

test('the context must have the event of SvelteKit; everything else is inferred', () => {
	const bare = initTRPC.context<{ user: string }>().create();
	// @ts-expect-error The context has no `event`.
	realtimeRouter(bare, realtime);
	const withMeta = initTRPC
		.context<{ event: RequestEvent }>()
		.meta<{ isPublic: boolean }>()
		.create({ errorFormatter: ({ shape }) => ({ ...shape, more: 1 }) });
	withMeta.router({ realtime: realtimeRouter(withMeta, realtime) });
	const testing = createTestRealtime(options);
	expectTypeOf(realtimeRouter(t, testing)).toEqualTypeOf(realtimeRouter(t, realtime));
	expectTypeOf(realtimeErrorData({})).toEqualTypeOf<RealtimeTrpcErrorData | null>();
});
