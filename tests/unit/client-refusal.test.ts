import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { demo } from '../support/client/channels.js';
import { Client, settle } from '../support/client/client.js';

let client: Client;

beforeEach(() => {
	vi.useFakeTimers();
	client = new Client();
});
afterEach(() => {
	client.bus.close();
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

/** What the app hears when the endpoint answers so. */
async function failureOf(response: Response, url?: string) {
	if (url) Object.defineProperties(response, { redirected: { value: true }, url: { value: url } });
	await client.set({ fetch: async () => response });
	await client.subscribe({ channel: demo });
	expect(client.failures).toHaveLength(1);
	expect(client.health('demo').detail).toContain(client.failures[0]!.message);
	return client.failures[0]!;
}

describe('an answer that is not a stream', () => {
	test.each([
		['an error of this package', { error: 'Denied' }, 'Denied'],
		['an error of SvelteKit', { message: 'Not found' }, 'Not found'],
		['a nested error', { error: { message: 'Session expired', code: 7 } }, 'Session expired']
	])('says what %s says', async (_name, body, text) => {
		expect((await failureOf(Response.json(body, { status: 404 }))).message).toBe(text);
	});

	test.each([
		['an object without a text', JSON.stringify({ error: { code: 1 } })],
		['a list', '[1]'],
		['null', 'null'],
		['a page', '<!doctype html>']
	])('that is %s has a readable text of its own', async (_name, body) => {
		const headers = { 'content-type': 'text/html' };
		const { message, status, fatal } = await failureOf(
			new Response(body, { status: 404, headers })
		);
		expect(message).toBe('The realtime endpoint answered 404 text/html, not an event stream.');
		expect({ status, fatal }).toEqual({ status: 404, fatal: true });
	});

	test('after a redirect tells where that led', async () => {
		const page = new Response('<html>', { headers: { 'content-type': 'text/html' } });
		const failure = await failureOf(page, 'https://app.test/login');
		expect(failure).toMatchObject({
			message: 'The realtime endpoint redirected to https://app.test/login, not an event stream.',
			location: 'https://app.test/login',
			status: 200,
			fatal: true
		});
	});

	test('without a redirect has no location', async () => {
		expect((await failureOf(Response.json({ error: 'No' }, { status: 401 }))).location).toBe(
			undefined
		);
	});
});

test('JSON is accepted besides a stream', async () => {
	await client.subscribe({ channel: demo });
	const { accept } = client.endpoint.last.init.headers as Record<string, string>;
	expect(accept).toBe('text/event-stream, application/json');
});

describe('a fetch that does not pass the signal on', () => {
	/** A custom `fetch` whose signal is lost, as one of `AbortSignal.any` can be in WebKit. */
	function deafFetch() {
		const cancel = vi.fn();
		let answer!: () => void;
		const answered = new Promise<void>((resolve) => (answer = resolve));
		const fetch = async (): Promise<Response> => {
			await answered;
			const headers = { 'content-type': 'text/event-stream' };
			return new Response(new ReadableStream({ cancel }), { headers });
		};
		return { fetch, cancel, answer };
	}

	test('has its stream cancelled when it is closed', async () => {
		const { fetch, cancel, answer } = deafFetch();
		answer();
		await client.set({ fetch });
		await client.subscribe({ channel: demo });
		expect(cancel).not.toHaveBeenCalled();
		await client.set({ enabled: false });
		expect(cancel).toHaveBeenCalledOnce();
	});

	test('has its stream cancelled when that comes too late', async () => {
		const { fetch, cancel, answer } = deafFetch();
		await client.set({ fetch });
		await client.subscribe({ channel: demo });
		await client.set({ enabled: false });
		answer();
		await settle();
		expect(cancel).toHaveBeenCalledOnce();
		expect(client.health('demo').status).toBe('connecting');
	});
});

describe('in development', () => {
	test('a failure that is not tried again is warned about, unless onFailure handles it', async () => {
		const warn = vi.spyOn(console, 'warn').mockReturnValue();
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(404, 'Requested channel is not available');
		await settle();
		expect(warn).not.toHaveBeenCalled();
		client.bus.close();

		client = new Client({ onFailure: undefined });
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(400, 'Unknown topics: mesage');
		await settle();
		expect(warn).toHaveBeenCalledExactlyOnceWith(
			'Realtime channel "demo" is not tried again (status 400): "Unknown topics: mesage". Pass onFailure to <RealtimeManager> to handle this.'
		);
	});

	test('a failure that is tried again is not', async () => {
		const warn = vi.spyOn(console, 'warn').mockReturnValue();
		await client.set({ onFailure: undefined });
		await client.subscribe({ channel: demo });
		client.endpoint.last.refuse(503, 'Down');
		await settle();
		expect(warn).not.toHaveBeenCalled();
	});
});
