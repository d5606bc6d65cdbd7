// The example of docs/guides/testing.md; a test compares them.
import { demoChannel, userChannel } from '../support/guide/channels.js';
import { createTestBus } from '../../src/lib/testing/index.js';
import { expect, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import RealtimePanel from '../support/guide/RealtimePanel.svelte';

const subscriptions = [
	{ channel: demoChannel },
	{ channel: userChannel, channelParams: 'alice' }
] as const;

test('the panel shows the newest message', async () => {
	const bus = createTestBus(subscriptions);
	const screen = await render(RealtimePanel, { context: bus.context });
	bus.emit('message', { message: 'Hello' }, { channel: demoChannel });
	await expect.element(screen.getByText('To everyone: Hello')).toBeVisible();
});

test('the panel says that the connection is lost, and shows what it missed', async () => {
	const bus = createTestBus(subscriptions);
	const screen = await render(RealtimePanel, { context: bus.context });
	const restore = bus.cut();
	bus.emit('message', { message: 'Missed' }, { channel: demoChannel });
	await expect.element(screen.getByText('Connection: connecting')).toBeVisible();
	restore();
	await expect.element(screen.getByText('To everyone: Missed')).toBeVisible();
});
