import { expect, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { createRealtimeBus, getRealtimeBusTopicState } from '../../src/lib/client/index.js';
import { demo } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import Inside from '../support/client/Inside.svelte';

test('hooks take a bus that was made outside of components, with or without a manager', async () => {
	const endpoint = new FakeEndpoint();
	endpoint.onRequest = (stream) => stream.accept('e-0');
	const bus = createRealtimeBus({
		endpoint: '/outside',
		headers: { authorization: 'Bearer 1' },
		fetch: endpoint.fetch,
		bufferIntervalMs: 0
	});
	const heard: string[] = [];
	const stop = bus.subscribe(demo, {}, ({ topic, data }) => {
		heard.push(`${topic} ${JSON.stringify(data)}`);
	});
	const screen = await render(Inside, {
		setup: () => {
			const message = getRealtimeBusTopicState(demo, 'message', { bus });
			return () =>
				`${bus.status.current.status}: ${message.current?.data.message ?? 'nothing yet'}`;
		}
	});
	const shows = (text: string): Promise<unknown> =>
		expect.element(screen.getByText(text, { exact: true })).toBeVisible();
	await shows('connected: nothing yet');
	expect(endpoint.last.url).toBe('/outside');
	const headers = new Headers(endpoint.last.init.headers);
	expect(headers.get('authorization')).toBe('Bearer 1');
	expect(headers.get('content-type')).toBe('application/json');
	endpoint.last.message('demo', 'message', { message: 'hello' }, 'e-1');
	endpoint.last.message('demo', 'count', 7, 'e-2');
	await shows('connected: hello');
	expect(heard).toEqual(['message {"message":"hello"}', 'count 7']);
	stop();
	await shows('paused: hello');
	bus.close();
	expect(endpoint.open).toEqual([]);
});

test('a worker, where there is no page, may use it as well', async () => {
	const source = new URL('../../src/lib/client/standalone.ts', import.meta.url).href;
	const script = `
		import { createRealtimeBus } from ${JSON.stringify(source)};
		const channel = { name: 'demo', topics: { message: {} } };
		const seen = [];
		const encode = (event, data, id) => new TextEncoder().encode('id: ' + id + '\\nevent: ' + event + '\\ndata: ' + JSON.stringify(data) + '\\n\\n');
		const fetch = async () => new Response(new ReadableStream({
			start(controller) {
				controller.enqueue(encode('health', { ok: true, status: 'connected', ts: 1, channel: 'demo' }, 'e-1'));
				controller.enqueue(encode('message', { channel: 'demo', topic: 'message', data: 'hi', kind: 'data', createdAt: '' }, 'e-2'));
			}
		}), { headers: { 'content-type': 'text/event-stream' } });
		const bus = createRealtimeBus({ endpoint: '/api/events', fetch });
		bus.subscribe(channel, {}, ({ data, cursor }) => {
			bus.close();
			postMessage([typeof window, data, cursor]);
		});`;
	const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
	const worker = new Worker(url, { type: 'module' });
	const message = await new Promise((resolve, reject) => {
		worker.onmessage = ({ data }) => resolve(data);
		worker.onerror = reject;
	});
	expect(message).toEqual(['undefined', 'hi', 'e-2']);
	worker.terminate();
	URL.revokeObjectURL(url);
});
