// The example of docs/guides/testing.md; a test compares them.
// @vitest-environment jsdom
import { demoChannel, userChannel } from '../support/guide/channels.js';
import { flushSync, mount, unmount } from 'svelte';
import { createTestBus } from '../../src/lib/testing/index.js';
import { expect, test } from 'vitest';
import RealtimePanel from '../support/guide/RealtimePanel.svelte';

test('the panel shows the newest message', async () => {
	const bus = createTestBus([
		{ channel: demoChannel },
		{ channel: userChannel, channelParams: 'alice' }
	]);
	const panel = mount(RealtimePanel, { target: document.body, context: bus.context });
	bus.emit('message', { message: 'Hello' }, { channel: demoChannel });
	flushSync();
	expect(document.body.textContent).toContain('To everyone: Hello');
	bus.deny(demoChannel);
	flushSync();
	expect(document.body.textContent).toContain('Connection: degraded');
	await unmount(panel);
});
