import { expect, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { getRealtimeBusRun, type RealtimeRunState } from '../../src/lib/client/index.js';
import { demo, user } from '../support/client/channels.js';
import { FakeEndpoint, type FakeStream } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

async function page(options: { autoCloseOnTerminal?: boolean } = {}) {
	const endpoint = new FakeEndpoint();
	let run!: RealtimeRunState;
	const screen = await render(Harness, {
		subscriptions: [{ channel: demo, run: true }],
		fetch: endpoint.fetch,
		bufferIntervalMs: 0,
		setup: () => {
			run = getRealtimeBusRun(demo, options);
			return () => `${run.status} ${JSON.stringify(run.result)} ${run.runId}`;
		}
	});
	return { endpoint, run, screen, stream: endpoint.last.accept('e-0') };
}

const lifecycle = (stream: FakeStream, data: unknown, runId = 'r1') =>
	stream.message('demo', '$run', data, undefined, { kind: 'run', runId });

test('the subscription asks for $run, and a channel that is connected says nothing of a run', async () => {
	const { endpoint, screen } = await page();
	expect(endpoint.last.body.topics).toEqual(['$run', 'count', 'message']);
	await expect.element(screen.getByText('unknown undefined undefined')).toBeVisible();
});

test('a run is running from its first message, then what its lifecycle says', async () => {
	const { screen, stream, run } = await page();
	stream.message('demo', 'count', 1, undefined, { runId: 'r1' });
	await expect.element(screen.getByText('running undefined r1')).toBeVisible();
	lifecycle(stream, { status: 'Completed', output: { total: 3 } });
	await expect.element(screen.getByText('completed {"total":3} r1')).toBeVisible();
	expect(run.current).toEqual({ status: 'completed', result: { total: 3 }, runId: 'r1' });
	stream.message('demo', 'count', 2, undefined, { runId: 'r1' });
	lifecycle(stream, { status: 'nonsense' });
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
	const { screen, stream } = await page();
	lifecycle(stream, data);
	await expect.element(screen.getByText(shown)).toBeVisible();
});

test('a message of another run is about that run', async () => {
	const { screen, stream } = await page();
	lifecycle(stream, { status: 'completed', result: 1 }, 'r1');
	await expect.element(screen.getByText('completed 1 r1')).toBeVisible();
	stream.message('demo', 'count', 1, undefined, { runId: 'r2' });
	await expect.element(screen.getByText('running undefined r2')).toBeVisible();
});

test('reset goes back to unknown', async () => {
	const { screen, stream, run } = await page();
	lifecycle(stream, { status: 'failed' });
	await expect.element(screen.getByText('failed')).toBeVisible();
	run.reset();
	await expect.element(screen.getByText('unknown')).toBeVisible();
});

test('a run that ended keeps its channel, unless autoCloseOnTerminal is asked for', async () => {
	const kept = await page();
	lifecycle(kept.stream, { status: 'completed' });
	await expect.element(kept.screen.getByText('completed')).toBeVisible();
	expect(kept.stream.aborted).toBe(false);
	await kept.screen.unmount();

	const closed = await page({ autoCloseOnTerminal: true });
	lifecycle(closed.stream, { status: 'completed' });
	await expect.poll(() => closed.stream.aborted).toBe(true);
	expect(closed.endpoint.open).toHaveLength(0);
	await closed.screen.rerender({ subscriptions: [{ channel: user, channelParams: 'a' }] });
	await expect.poll(() => closed.endpoint.streams.length).toBe(2);
});
