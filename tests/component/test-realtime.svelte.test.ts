import { afterEach, expect, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { getRealtimeBusState, getRealtimeBusTopicMessages } from '../../src/lib/client/index.js';
import { createTestRealtime, type TestRealtime } from '../../src/lib/testing/index.js';
import { demo } from '../support/client/channels.js';
import Harness from '../support/client/Harness.svelte';

let realtime: TestRealtime;
afterEach(() => realtime.close());

test('a page is tested against the real endpoint, in the browser and without a network', async () => {
	realtime = createTestRealtime({ channels: { demo: { channel: demo, authorize: () => true } } });
	const screen = await render(Harness, {
		fetch: realtime.fetch,
		subscriptions: [{ channel: demo }],
		setup: () => {
			const { health } = getRealtimeBusState(demo);
			const list = getRealtimeBusTopicMessages(demo, 'count');
			return () => `${health.current.status} ${list.current.map(({ data }) => data).join()}`;
		}
	});
	await expect.element(screen.getByText('connected')).toBeVisible();
	await realtime.publish(demo().count, 1);
	await expect.element(screen.getByText('connected 1')).toBeVisible();
	realtime.cut();
	await realtime.publish(demo().count, 2);
	await expect.element(screen.getByText('connected 1,2')).toBeVisible();
	realtime.lose();
	await expect.element(screen.getByText('connecting 1,2')).toBeVisible();
	realtime.restore();
	await realtime.publish(demo().count, 3);
	await expect.element(screen.getByText('connected 1,2,3')).toBeVisible();
});
