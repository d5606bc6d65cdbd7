import { expect, test, vi } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { z } from 'zod';
import { channel, topic } from '@inngest/realtime';
import {
	getRealtimeBusPresence,
	onAsk,
	withPresence,
	type RealtimePresence
} from '../../src/lib/client/index.js';
import type { PresencePayload, PresenceRequest } from '../../src/lib/protocol/presence.js';
import { FakeEndpoint, type FakeStream } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

const board = withPresence(
	channel('board').addTopic(topic('confirm').type<{ text: string }>()),
	z.object({ name: z.string(), x: z.number().optional(), isTyping: z.boolean().optional() })
);
type Data = { name: string; x?: number; isTyping?: boolean };

const member = (id: string, joinedAt: number, data: Data = { name: id }, streams = 1) => ({
	id,
	data,
	streams,
	joinedAt
});

/** A page in a channel, and what it sends about itself. */
async function page(
	setup: (people: RealtimePresence<Data>) => () => string,
	options: { updateIntervalMs?: number } = {},
	props: object = {}
) {
	const endpoint = new FakeEndpoint();
	const sent: PresenceRequest[] = [];
	const streams: FakeStream[] = [];
	let answer: (stream: FakeStream) => void = (stream) => stream.refuse(204);
	endpoint.onRequest = (stream) => {
		const { presence } = stream.body as unknown as { presence?: PresenceRequest };
		if (!presence) return void streams.push(stream.accept());
		sent.push(presence);
		answer(stream);
	};
	let people!: RealtimePresence<Data>;
	const screen = await render(Harness, {
		subscriptions: [{ channel: board }],
		fetch: endpoint.fetch,
		setup: () => setup((people = getRealtimeBusPresence(board, options))),
		...props
	});
	await expect.poll(() => streams.length).toBe(1);
	const tell = (payload: Record<string, unknown> & { type: PresencePayload['type'] }): void =>
		void streams.at(-1)!.event('presence', { channel: 'board', ...payload });
	return {
		people,
		screen,
		sent,
		streams,
		tell,
		sync: (members: object[], stream = 's1') =>
			tell({ type: 'sync', self: 'alice', stream, beatMs: 30_000, members }),
		answer: (next: (stream: FakeStream) => void) => (answer = next)
	};
}

const names = (people: RealtimePresence<Data>): string =>
	people.current.map(({ data, streams }) => `${data.name}${streams > 1 ? streams : ''}`).join(' ');

test('members, oldest first, with the changes; others and self', async () => {
	const { people, screen, sync, tell } = await page((people) => () => `[${names(people)}]`);
	await expect.element(screen.getByText('[]')).toBeVisible();
	sync([member('bob', 2), member('alice', 1)]);
	await expect.element(screen.getByText('[alice bob]')).toBeVisible();
	const [alice, bob] = people.current;
	tell({ type: 'join', members: [member('carol', 3)] });
	tell({ type: 'update', members: [{ id: 'bob', streams: 2 }] });
	await expect.element(screen.getByText('[alice bob2 carol]')).toBeVisible();
	// Whoever did not change is the same object.
	expect(people.current[0]).toBe(alice);
	expect(people.current[1]).not.toBe(bob);
	expect(people.self).toBe(alice);
	expect(people.others.map(({ id }) => id)).toEqual(['bob', 'carol']);
	expect(people.count).toBe(3);
	tell({ type: 'leave', ids: ['bob'] });
	await expect.element(screen.getByText('[alice carol]')).toBeVisible();
});

test('handlers hear of real joins and leaves only, also across a sync', async () => {
	const heard: string[] = [];
	const { sync, tell } = await page((people) => {
		people.onJoin(({ id }) => heard.push(`+${id}`));
		people.onLeave(({ id }) => heard.push(`-${id}`));
		return () => names(people);
	});
	sync([member('alice', 1), member('bob', 2)]);
	tell({ type: 'update', members: [{ id: 'bob', data: { name: 'Bob' } }] });
	tell({ type: 'join', members: [member('carol', 3)] });
	sync([member('alice', 1), member('bob', 2), member('dave', 4)], 's2');
	await expect.poll(() => heard).toEqual(['+carol', '-carol', '+dave']);
});

test('updates go together, one request at a time, and the last one always goes out', async () => {
	const { people, sent, sync, answer } = await page((people) => () => names(people));
	let release = (): void => {};
	answer((stream) => (release = () => stream.refuse(204)));
	people.update({ x: 0 });
	sync([member('alice', 1)]);
	await expect.poll(() => sent).toEqual([{ stream: 's1', data: { x: 0 } }]);
	for (let x = 1; x <= 100; x++) people.update({ x });
	people.update({ isTyping: true }, { ttlMs: 1000 });
	release();
	await expect.poll(() => sent.length).toBe(2);
	expect(sent[1]).toEqual({ stream: 's1', data: { x: 100 } });
	release();
	await expect.poll(() => sent.length).toBe(3);
	expect(sent[2]).toEqual({ stream: 's1', data: { isTyping: true }, ttlMs: 1000 });
	// Refused for a while: what is newest goes out later.
	answer((stream) => stream.refuse(429, 'Too many requests', { 'retry-after': '1' }));
	release();
	people.update({ x: 101 });
	await expect.poll(() => sent.length).toBe(4);
	answer((stream) => stream.refuse(204));
	people.update({ x: 102 });
	await expect.poll(() => sent.length).toBe(5);
	expect(sent[4]).toEqual({ stream: 's1', data: { x: 102 } });
});

test('what the server refuses goes to onFailure', async () => {
	const failures: object[] = [];
	const { people, sync, answer } = await page(
		(people) => () => names(people),
		{},
		{
			onFailure: (failure: object) => failures.push(failure)
		}
	);
	sync([member('alice', 1)]);
	answer((stream) => stream.refuse(400, 'It does not match'));
	people.update({ x: 1 });
	await expect.poll(() => failures).toHaveLength(1);
	expect(failures[0]).toMatchObject({
		message: 'It does not match',
		status: 400,
		channelId: 'board'
	});
});

test('after it came back by another stream, the page says again what it is', async () => {
	const { people, sent, sync } = await page((people) => () => names(people));
	sync([member('alice', 1)]);
	people.update({ x: 5 });
	people.update({ isTyping: true }, { ttlMs: 1 });
	await expect.poll(() => sent.length).toBe(2);
	await new Promise((resolve) => setTimeout(resolve, 20));
	sync([member('alice', 9)], 's2');
	await expect.poll(() => sent.length).toBe(3);
	expect(sent[2]).toEqual({ stream: 's2', data: { x: 5 }, reset: true });
});

test('a sign of life goes out while the hook is used, and a hook that comes late asks for a sync', async () => {
	vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
	try {
		const shown: { late?: RealtimePresence<Data> } = {};
		const endpoint = new FakeEndpoint();
		const sent: PresenceRequest[] = [];
		let stream: FakeStream | undefined;
		endpoint.onRequest = (request) => {
			const { presence } = request.body as unknown as { presence?: PresenceRequest };
			if (!presence) stream = request.accept();
			else {
				sent.push(presence);
				request.refuse(204);
			}
		};
		const screen = await render(Harness, {
			subscriptions: [{ channel: board }],
			fetch: endpoint.fetch,
			setup: () => {
				shown.late = getRealtimeBusPresence(board);
				return () => '';
			},
			shown: false
		});
		await expect.poll(() => stream).toBeDefined();
		const sync = { channel: 'board', type: 'sync', stream: 's1', beatMs: 30_000, members: [] };
		stream!.event('presence', sync);
		await new Promise((resolve) => setTimeout(resolve, 50));
		expect(sent).toEqual([]);
		await screen.rerender({ shown: true });
		await expect.poll(() => sent).toEqual([{ stream: 's1', sync: true }]);
		stream!.event('presence', sync);
		await new Promise((resolve) => setTimeout(resolve, 50));
		vi.advanceTimersByTime(60_000);
		await expect.poll(() => sent.slice(1)).toEqual([{ stream: 's1' }, { stream: 's1' }]);
		await screen.rerender({ shown: false });
		await new Promise((resolve) => setTimeout(resolve, 50));
		vi.advanceTimersByTime(60_000);
		expect(sent).toHaveLength(3);
	} finally {
		vi.useRealTimers();
	}
});

test('onAsk answers, says what failed, and is aborted when another page was first', async () => {
	const endpoint = new FakeEndpoint();
	const answers: unknown[] = [];
	let stream: FakeStream | undefined;
	endpoint.onRequest = (request) => {
		const { answer } = request.body as unknown as { answer?: unknown };
		if (!answer) stream = request.accept();
		else {
			answers.push(answer);
			request.refuse(204);
		}
	};
	let aborted = false;
	await render(Harness, {
		subscriptions: [{ channel: board }],
		fetch: endpoint.fetch,
		setup: () => {
			onAsk(board, 'confirm', async ({ text }, { signal }) => {
				if (text === 'wait') {
					await new Promise((resolve) => signal.addEventListener('abort', resolve));
					aborted = true;
				}
				if (text === 'fail') throw new Error('No');
				return text.length;
			});
			return () => '';
		}
	});
	await expect.poll(() => stream).toBeDefined();
	const ask = (id: string, more: object): void =>
		void stream!.event('ask', { channel: 'board', topic: 'confirm', id, ...more });
	ask('1', { data: { text: 'four' } });
	await expect.poll(() => answers).toEqual([{ id: '1', data: 4 }]);
	ask('2', { data: { text: 'fail' } });
	await expect.poll(() => answers[1]).toEqual({ id: '2', error: 'No' });
	ask('3', { data: { text: 'wait' } });
	ask('3', { isOver: true });
	await expect.poll(() => aborted).toBe(true);
	expect(answers).toHaveLength(2);
});
