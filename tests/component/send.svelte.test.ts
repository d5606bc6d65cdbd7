import { flushSync } from 'svelte';
import { expect, test } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { z } from 'zod';
import {
	defineEvent,
	getRealtimeBusSend,
	type RealtimeOutdated,
	type RealtimeSend
} from '../../src/lib/client/index.js';
import { createTestBus } from '../../src/lib/testing/createTestBus.js';
import { demo } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

const say = defineEvent('demo/say', {
	schema: z.object({ text: z.string() }),
	result: z.object({ said: z.string() }),
	version: 2
});

test('a component shows what is pending and what failed, and the test answers', async () => {
	const bus = createTestBus([{ channel: demo }]);
	let send!: RealtimeSend<typeof say>;
	const screen = await render(Harness, {
		bus,
		subscriptions: [],
		setup: () => {
			send = getRealtimeBusSend(say);
			return () =>
				`pending: ${send.pending.map(({ data }) => data.text).join()}; error: ${send.error?.fields.text ?? 'none'}`;
		}
	});
	const shows = (text: string): Promise<unknown> =>
		expect.element(screen.getByText(text, { exact: true })).toBeVisible();
	await shows('pending: ; error: none');
	const first = send({ text: 'a' });
	void send({ text: 'b' });
	await shows('pending: a,b; error: none');
	bus.answer(say, ({ text }) => {
		if (text === 'b') throw { status: 422, issues: [{ message: 'Too dull', path: ['text'] }] };
		return { said: text };
	});
	expect((await first).result).toEqual({ said: 'a' });
	await shows('pending: ; error: Too dull');
	expect(bus.sent).toMatchObject([
		{ event: 'demo/say', data: { text: 'a' } },
		{ event: 'demo/say', data: { text: 'b' } }
	]);
});

test('through a manager: its endpoint and fetch, also in the moment of mounting', async () => {
	const endpoint = new FakeEndpoint();
	const outdated: RealtimeOutdated[] = [];
	let sent!: Promise<unknown>;
	await render(Harness, {
		endpoint: '/custom',
		subscriptions: [{ channel: demo }],
		fetch: endpoint.fetch,
		onOutdated: (event: RealtimeOutdated) => outdated.push(event),
		setup: () => {
			sent = getRealtimeBusSend(say)({ text: 'a' });
			return () => '';
		}
	});
	flushSync();
	const isEvent = ({ init }: { init: RequestInit }): boolean =>
		String(init.body).includes('demo/say');
	await expect.poll(() => endpoint.streams.some(isEvent)).toBe(true);
	const post = endpoint.streams.find(isEvent)!;
	expect(post.url).toBe('/custom');
	expect(post.body).toMatchObject({ event: 'demo/say', v: 2 });
	post.refuse(409, 'Reload');
	await expect(sent).rejects.toMatchObject({ code: 'EVENT_REFUSED' });
	expect(outdated).toEqual([]);
});
