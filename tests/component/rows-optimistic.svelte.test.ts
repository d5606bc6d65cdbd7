import { channel, topic } from '@inngest/realtime';
import { error } from '@sveltejs/kit';
import { afterEach, expect, expectTypeOf, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { z } from 'zod';
import {
	defineEvent,
	getRealtimeBusSend,
	getRealtimeBusState,
	getRealtimeBusTopicRows,
	type RealtimeSend
} from '../../src/lib/client/index.js';
import { createTestRealtime, type TestRealtime } from '../../src/lib/testing/index.js';
import Harness from '../support/client/Harness.svelte';

interface Order {
	id: string;
	item: string;
	isSaving?: boolean;
}
const orders = channel('orders').addTopic(
	topic('order').schema(
		z.object({
			operation: z.enum(['insert', 'delete']),
			key: z.string(),
			row: z.object({ id: z.string(), item: z.string() }).nullable()
		})
	)
);
const createOrder = defineEvent('orders/create', { schema: z.object({ item: z.string() }) });
const deleteOrder = defineEvent('orders/delete', { schema: z.object({ id: z.string() }) });

let realtime: TestRealtime;
afterEach(() => realtime.close());

/** Something that others wait for. */
function gate(): { opened: Promise<void>; open(): void } {
	let open!: () => void;
	const opened = new Promise<void>((resolve) => (open = resolve));
	return { opened, open };
}

/**
 * A page of orders.
 *
 * @param holds What answers to events, and the bytes of the stream, wait for.
 */
async function renderOrders(holds: { answer?: Promise<void>; stream?: Promise<void> } = {}) {
	realtime = createTestRealtime({
		channels: { orders: { channel: orders, source: false, authorize: () => true } },
		events: {
			create: {
				event: createOrder,
				authorize: () => true,
				run: async ({ emit }, { item }) => {
					if (item === 'gold') error(403, 'Sold out.');
					const row = { id: `of the server: ${item}`, item };
					await emit(orders().order, { operation: 'insert', key: row.id, row });
				}
			},
			delete: {
				event: deleteOrder,
				authorize: () => true,
				run: async ({ emit }, { id }) => {
					await emit(orders().order, { operation: 'delete', key: id, row: null });
				}
			}
		}
	});
	let isLive = false;
	const fetch: typeof globalThis.fetch = async (input, init) => {
		const response = await realtime.fetch(input, init);
		if (String(init?.body).includes('"event"')) {
			await holds.answer;
			return response;
		}
		const held = new TransformStream<Uint8Array, Uint8Array>({
			async transform(chunk, controller) {
				if (isLive) await holds.stream;
				controller.enqueue(chunk);
			}
		});
		return new Response(response.body!.pipeThrough(held), response);
	};
	/** Everything that was ever on the screen. */
	const shown: string[] = [];
	let create!: RealtimeSend<typeof createOrder>;
	let remove!: RealtimeSend<typeof deleteOrder>;
	const screen = await render(Harness, {
		fetch,
		subscriptions: [{ channel: orders }],
		setup: () => {
			const { health } = getRealtimeBusState(orders);
			create = getRealtimeBusSend(createOrder);
			remove = getRealtimeBusSend(deleteOrder);
			const initial: Order[] = [{ id: '1', item: 'tea' }];
			const rows = getRealtimeBusTopicRows(orders, 'order', {
				key: 'id',
				initial,
				optimistic: (confirmed) => {
					expectTypeOf(confirmed).toEqualTypeOf<readonly Order[]>();
					const gone = remove.pending.map(({ data }) => data.id);
					return [
						...confirmed.filter(({ id }) => !gone.includes(id)),
						...create.pending.map(({ id, data }) => ({ id, ...data, isSaving: true }))
					];
				}
			});
			return () => {
				const texts = rows.current.map(({ item, isSaving }) => item + (isSaving ? '…' : ''));
				const text = texts.join() || 'none';
				if (shown.at(-1) !== text) shown.push(text);
				return `${health.current.status}: ${text}`;
			};
		}
	});
	const shows = (text: string) =>
		expect.element(screen.getByText(`connected: ${text}`, { exact: true })).toBeVisible();
	await shows('tea');
	isLive = true;
	return { shows, shown, create, remove };
}

test('a row is shown at once, and is the same row when the answer comes before the echo', async () => {
	const stream = gate();
	const page = await renderOrders({ stream: stream.opened });
	const sent = page.create({ item: 'milk' });
	await page.shows('tea,milk…');
	await sent;
	await page.shows('tea,milk…');
	stream.open();
	await page.shows('tea,milk');
	expect(page.shown).toEqual(['tea', 'tea,milk…', 'tea,milk']);
});

test('a row is shown at once, and is the same row when the echo comes before the answer', async () => {
	const answer = gate();
	const page = await renderOrders({ answer: answer.opened });
	const sent = page.create({ item: 'milk' });
	await page.shows('tea,milk');
	answer.open();
	await sent;
	expect(page.shown).toEqual(['tea', 'tea,milk…', 'tea,milk']);
});

test('what is refused is taken back, and what is deleted goes at once', async () => {
	const answer = gate();
	const page = await renderOrders({ answer: answer.opened });
	const refused = page.create({ item: 'gold' });
	await page.shows('tea,gold…');
	answer.open();
	await expect(refused).rejects.toMatchObject({ status: 403, message: 'Sold out.' });
	await page.shows('tea');
	await page.remove({ id: '1' });
	await page.shows('none');
	expect(page.shown).toEqual(['tea', 'tea,gold…', 'tea', 'none']);
});
