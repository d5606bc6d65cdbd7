// The example of docs/guides/testing.md; a test compares them.
import { demoChannel } from '../support/channels.js';
import { createTestRealtime } from '../../src/lib/testing/index.js';
import { afterEach, expect, test } from 'vitest';

const realtime = createTestRealtime({
	channels: {
		demo: { channel: demoChannel, authorize: ({ locals }) => locals.user !== null }
	}
});
afterEach(() => realtime.close());

test('only people who are signed in can read', async () => {
	const signedOut = realtime.as({ user: null } as never);
	const alice = realtime.as({ user: { id: 'alice', name: 'Alice', role: 'member' } } as never);
	expect((await signedOut('/api/events?channel=demo')).status).toBe(403);
	const response = await alice('/api/events?channel=demo');
	expect(response.status).toBe(200);
	await response.body?.cancel();
});
