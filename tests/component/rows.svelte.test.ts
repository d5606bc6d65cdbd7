import { channel, topic } from '@inngest/realtime';
import { expect, expectTypeOf, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { z } from 'zod';
import { getRealtimeBusTopicRows } from '../../src/lib/client/index.js';
import { createTestBus } from '../../src/lib/testing/index.js';
import Harness from '../support/client/Harness.svelte';

interface Order {
	id: number;
	status: string;
}
const order = z.object({ id: z.number(), status: z.string() });
const orders = channel('orders').addTopic(
	topic('order').schema(
		z.object({
			operation: z.enum(['insert', 'update', 'delete']),
			key: z.object({ id: z.number() }),
			row: order.nullable()
		})
	)
);

const insert = (id: number, status: string) => ({
	operation: 'insert' as const,
	key: { id },
	row: { id, status }
});

test('rows follow what is created, updated and deleted, and start over after a resync', async () => {
	const bus = createTestBus([{ channel: orders }]);
	let initial: Order[] = $state.raw([
		{ id: 1, status: 'new' },
		{ id: 2, status: 'new' }
	]);
	const screen = await render(Harness, {
		bus,
		setup: () => {
			const rows = getRealtimeBusTopicRows(orders, 'order', { key: 'id', initial: () => initial });
			expectTypeOf(rows.current).toEqualTypeOf<readonly Order[]>();
			return () => rows.current.map(({ id, status }) => `${id}=${status}`).join() || 'none';
		}
	});
	const shows = (text: string) =>
		expect.element(screen.getByText(text, { exact: true })).toBeVisible();
	await shows('1=new,2=new');
	bus.emit('order', insert(3, 'new'));
	bus.emit('order', { operation: 'update', key: { id: 1 }, row: { id: 1, status: 'paid' } });
	await shows('1=paid,2=new,3=new');
	bus.emit('order', { operation: 'delete', key: { id: 2 }, row: null });
	await shows('1=paid,3=new');
	// Rows that were read before the last change came do not undo it.
	initial = [
		{ id: 1, status: 'new' },
		{ id: 2, status: 'new' },
		{ id: 3, status: 'new' }
	];
	await shows('1=paid,3=new');
	bus.resync();
	await shows('1=new,2=new,3=new');
	initial = [{ id: 4, status: 'read again' }];
	await shows('4=read again');
	bus.emit('order', insert(5, 'new'));
	await shows('4=read again,5=new');
});
