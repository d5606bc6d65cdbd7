import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import { HttpTransport } from '../../src/lib/client/transport/http.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import type { RealtimeClientFailureContext } from '../../src/lib/client/types.js';
import { demoChannel } from '../support/channels.js';
import { FakePage } from '../support/client/page.js';
import { serve } from '../support/server.js';
import { eventually } from '../support/wait.js';
import { startWorld } from '../support/world.js';

const cleanUp: (() => unknown)[] = [];
beforeEach(() => {
	const { window, document } = new FakePage();
	// `sveltekit-sse` takes its timers from there.
	vi.stubGlobal('window', Object.assign(window, { setTimeout, clearTimeout }));
	vi.stubGlobal('document', document);
});
afterEach(async () => {
	for (const clean of cleanUp.splice(0).reverse()) await clean();
	vi.unstubAllGlobals();
});

/** The real package; whether it is in a browser it asks once, when it is loaded. */
const sse = () => import('sveltekit-sse');

test('source() of sveltekit-sse reads the endpoint', async () => {
	const world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: () => true } }
	});
	cleanUp.push(() => world.close());
	const { source } = await sse();
	const stream = source(world.server.url, {
		options: { body: JSON.stringify({ channel: 'demo', topics: ['message'] }) }
	});
	const seen: { health: unknown[]; message: unknown[] } = { health: [], message: [] };
	for (const event of ['health', 'message'] as const) {
		const store = stream.select(event).json();
		cleanUp.push(store.subscribe((value: unknown) => value && seen[event].push(value)));
	}
	await eventually(() => seen.health.length >= 2);
	expect(seen.health).toMatchObject([
		{ status: 'connecting', channel: 'demo' },
		{ status: 'connected', ok: true }
	]);
	await world.publish('demo', 'message', { message: 'Hello\nyou' });
	await eventually(() => seen.message.length === 1);
	expect(seen.message).toMatchObject([
		{ channel: 'demo', topic: 'message', data: { message: 'Hello\nyou' } }
	]);
	stream.close();
	await eventually(() => world.realtime.stats().streams === 0);
});

test('the client reads an endpoint made with produce() of sveltekit-sse', async () => {
	const { produce } = await sse();
	const server = await serve({
		async POST({ request }) {
			const { channel } = (await request.json()) as { channel: string };
			return produce(({ emit }: { emit(event: string, data: string): unknown }) => {
				const message = (text: string) =>
					JSON.stringify({ channel, topic: 'message', data: { message: text } });
				emit('message', message('one'));
				emit('message', message('two\nlines'));
			});
		}
	});
	cleanUp.push(() => server.close());
	const subscriptions = resolveSubscriptions([{ channel: demoChannel }]);
	const failures: RealtimeClientFailureContext[] = [];
	const bus = new RealtimeBus({
		subscriptions: () => subscriptions,
		connect: (owner) => new HttpTransport(owner),
		settings: () => ({ onFailure: (failure) => failures.push(failure) })
	});
	cleanUp.push(() => bus.close());
	const heard: unknown[] = [];
	bus.state('demo').frames.listen((frame) => {
		if (frame.event === 'message') heard.push(frame.data.data);
	});
	bus.update({ endpoint: server.url, subscriptions });
	await eventually(() => heard.length === 2);
	expect(heard).toEqual([{ message: 'one' }, { message: 'two\nlines' }]);
	expect(bus.state('demo').health).toMatchObject({ ok: true, status: 'connected' });
	expect(failures).toEqual([]);
});
