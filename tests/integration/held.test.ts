import type { RequestEvent } from '@sveltejs/kit';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, test } from 'vitest';
import { demoChannel } from '../support/channels.js';
import { eventually } from '../support/wait.js';
import { SseReader } from '../support/sse.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Opens a stream in this process; only the endpoint may hold on to what the request brought. */
async function open(body: unknown): Promise<{ stream: SseReader; event: WeakRef<RequestEvent> }> {
	const request = new Request('http://localhost/', { method: 'POST', body: JSON.stringify(body) });
	const event = {
		request,
		url: new URL(request.url),
		locals: { session: 'x'.repeat(1_000) },
		platform: { req: { socket: { destroy: () => {} } } },
		route: { id: '/held' }
	} as unknown as RequestEvent;
	const response = await world.realtime.POST(event as never);
	return { stream: new SseReader(response, new AbortController()), event: new WeakRef(event) };
}

test.each([
	['one channel', { channel: 'demo' }],
	['several channels', { subscriptions: [{ channel: 'demo' }] }]
])('a stream of %s does not hold what its request brought', async (_, body) => {
	world = await startWorld({ channels: { demo: { channel: demoChannel, authorize: () => true } } });
	const { stream, event } = await open(body);
	await stream.connected();
	await world.publish('demo', 'message', { message: '1' });
	await stream.when(() => stream.texts.length === 1);
	let isHeld = true;
	for (let n = 0; isHeld && n < 50; n++) {
		await setImmediate();
		collectGarbage();
		isHeld = event.deref() !== undefined;
	}
	expect(isHeld).toBe(false);
	// It is the stream that would hold it, and that is still open.
	expect(world.realtime.stats().streams).toBe(1);
	world.realtime.close();
	await eventually(() => stream.ended);
});
