import { expect, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { getRealtimeBusRun, type RealtimeRunState } from '../../src/lib/client/index.js';
import { createTestBus, type TestBus } from '../../src/lib/testing/index.js';
import { demo, user } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

async function page(options: { autoCloseOnTerminal?: boolean } = {}) {
	const bus = createTestBus([{ channel: demo, run: true }]);
	let run!: RealtimeRunState;
	const screen = await render(Harness, {
		bus,
		setup: () => {
			run = getRealtimeBusRun(demo, options);
			return () => `${run.status} ${JSON.stringify(run.result)} ${run.runId}`;
		}
	});
	return { bus, run, screen };
}

const lifecycle = (bus: Pick<TestBus<typeof demo>, 'emit'>, data: unknown, runId = 'r1') =>
	bus.emit('$run', data, { runId });

test('the subscription asks for $run, and a channel that is connected says nothing of a run', async () => {
	const { bus, screen } = await page();
	expect(bus.subscriptions[0]?.topics).toEqual(['$run', 'count', 'message']);
	await expect.element(screen.getByText('unknown undefined undefined')).toBeVisible();
});

test('a run is running from its first message, then what its lifecycle says', async () => {
	const { screen, bus, run } = await page();
	bus.emit('count', 1, { runId: 'r1' });
	await expect.element(screen.getByText('running undefined r1')).toBeVisible();
	lifecycle(bus, { status: 'Completed', output: { total: 3 } });
	await expect.element(screen.getByText('completed {"total":3} r1')).toBeVisible();
	expect(run.current).toEqual({ status: 'completed', result: { total: 3 }, runId: 'r1' });
	bus.emit('count', 2, { runId: 'r1' });
	lifecycle(bus, { status: 'nonsense' });
	await expect.element(screen.getByText('completed {"total":3} r1')).toBeVisible();
});

test.each([
	[{ status: 'in_progress' }, 'running undefined'],
	[{ runStatus: 'failed' }, 'failed undefined'],
	[{ state: 'canceled' }, 'cancelled undefined'],
	[{ status: 'succeeded', result: 7 }, 'completed 7'],
	[{ result: [1] }, 'completed [1]'],
	['plain', 'completed "plain"'],
	[{ answer: 42 }, 'completed {"answer":42}']
])('a lifecycle message with %j means %s', async (data, shown) => {
	const { screen, bus } = await page();
	lifecycle(bus, data);
	await expect.element(screen.getByText(shown)).toBeVisible();
});

test('a message of another run is about that run', async () => {
	const { screen, bus } = await page();
	lifecycle(bus, { status: 'completed', result: 1 }, 'r1');
	await expect.element(screen.getByText('completed 1 r1')).toBeVisible();
	bus.emit('count', 1, { runId: 'r2' });
	await expect.element(screen.getByText('running undefined r2')).toBeVisible();
});

test('reset goes back to unknown', async () => {
	const { screen, bus, run } = await page();
	lifecycle(bus, { status: 'failed' });
	await expect.element(screen.getByText('failed')).toBeVisible();
	run.reset();
	await expect.element(screen.getByText('unknown')).toBeVisible();
});

test('a run that ended keeps its channel, unless autoCloseOnTerminal is asked for', async () => {
	const kept = await page();
	lifecycle(kept.bus, { status: 'completed' });
	await expect.element(kept.screen.getByText('completed')).toBeVisible();
	expect(kept.bus.status.current.status).toBe('connected');
	await kept.screen.unmount();

	const endpoint = new FakeEndpoint();
	const screen = await render(Harness, {
		subscriptions: [{ channel: demo, run: true }],
		fetch: endpoint.fetch,
		setup: () => {
			getRealtimeBusRun(demo, { autoCloseOnTerminal: true });
			return () => '';
		}
	});
	const stream = endpoint.last.accept('e-0');
	stream.message('demo', '$run', { status: 'completed' }, undefined, { kind: 'run' });
	await expect.poll(() => stream.aborted).toBe(true);
	expect(endpoint.open).toHaveLength(0);
	await screen.rerender({ subscriptions: [{ channel: user, channelParams: 'a' }] });
	await expect.poll(() => endpoint.streams.length).toBe(2);
});
