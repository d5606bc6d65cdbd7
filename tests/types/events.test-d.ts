import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
	defineEvent,
	getRealtimeBusSend,
	type RealtimeEventError
} from '../../src/lib/client/index.js';
import {
	createRealtime,
	defineEvent as fromServer,
	type RealtimeIdentity
} from '../../src/lib/server/index.js';
import { createTestBus, createTestRealtime } from '../../src/lib/testing/index.js';
import { demoChannel } from '../support/channels.js';

const createOrder = defineEvent('orders/create', {
	schema: z.object({
		product: z.string(),
		count: z.coerce.number<string>().default(1),
		due: z.date()
	}),
	channel: (data) => `orders:${data.product}`,
	result: z.object({ orderId: z.string(), at: z.date() })
});
const plain = fromServer('plain', { schema: z.object({ text: z.string() }) });
const inngest = { id: 'x' };
const channels = { demo: { channel: demoChannel, authorize: () => true } };

test('handlers get the output of the schema and return the input of the result', () => {
	createRealtime({
		inngest,
		channels,
		events: {
			createOrder: {
				event: createOrder,
				authorize: ({ identity, data, locals, id }) => {
					expectTypeOf(identity).toEqualTypeOf<RealtimeIdentity | null>();
					expectTypeOf(data).toBeUnknown();
					expectTypeOf(locals).toEqualTypeOf<App.Locals>();
					expectTypeOf(id).toBeString();
					return true;
				},
				async run({ emit, once, signal, inngest }, { product, count, due }) {
					expectTypeOf(product).toBeString();
					expectTypeOf(count).toBeNumber();
					expectTypeOf(due).toEqualTypeOf<Date>();
					expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
					const { cursor } = await emit(demoChannel().message, { message: product });
					expectTypeOf(cursor).toBeString();
					// @ts-expect-error The topic's schema wants a text.
					void emit(demoChannel().message, { message: 1 });
					const part = await once('part', () => ({ at: new Date() }));
					expectTypeOf(part).toEqualTypeOf<{ at: string }>();
					await inngest.send({ name: 'orders/created', data: {} });
					return { orderId: 'o', at: new Date() };
				},
				rate: { points: 1, intervalMs: 1 }
			},
			plain: { event: plain, authorize: () => true, run: (_, { text }) => text.length }
		}
	});
	createRealtime({
		inngest,
		channels,
		events: {
			createOrder: {
				event: createOrder,
				authorize: () => true,
				// @ts-expect-error Its result has an `orderId`.
				run: () => ({ at: new Date() })
			}
		}
	});
});

test('pages send the input and get the output of the result, after JSON', async () => {
	const send = getRealtimeBusSend(createOrder);
	const { result, emitted } = await send({ product: 'tea', count: '1', due: new Date() });
	expectTypeOf(result).toEqualTypeOf<{ orderId: string; at: string }>();
	expectTypeOf(emitted[0]!.cursor).toBeString();
	// @ts-expect-error There is no such field.
	void send({ product: 'tea', due: new Date(), other: 1 });
	// @ts-expect-error A field is missing.
	void send({ product: 'tea' });
	const [pending] = send.pending;
	expectTypeOf(pending!.data).toEqualTypeOf<{ product: string; count?: string; due: string }>();
	expectTypeOf(send.error!.fields.product).toEqualTypeOf<readonly string[] | undefined>();
	// @ts-expect-error There is no such field.
	void send.error!.fields.other;
	expectTypeOf(send.error).toExtend<RealtimeEventError | null>();
	const { result: unknown } = await getRealtimeBusSend(plain)({ text: 'a' });
	expectTypeOf(unknown).toBeUnknown();
});

test('tests answer and send with the same types', async () => {
	const bus = createTestBus([{ channel: demoChannel }]);
	bus.answer(createOrder, ({ product, due }) => {
		expectTypeOf(due).toBeString();
		return { orderId: product, at: '' };
	});
	// @ts-expect-error Its result has an `orderId`.
	bus.answer(createOrder, () => ({ at: '' }));
	const realtime = createTestRealtime({
		channels,
		events: { plain: { event: plain, authorize: () => true, run: (_, { text }) => text } }
	});
	const { result } = await realtime.send(createOrder, { product: 'tea', due: new Date() });
	expectTypeOf(result).toEqualTypeOf<{ orderId: string; at: string } | undefined>();
	const { messages, cursor } = await realtime.history(demoChannel, { topics: ['message'] });
	expectTypeOf(messages[0]!.data.message).toBeString();
	expectTypeOf(cursor).toBeString();
});
