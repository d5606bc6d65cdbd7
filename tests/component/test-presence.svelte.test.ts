import { channel, topic } from '@inngest/realtime';
import { expect, test, vi } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { z } from 'zod';
import {
	getRealtimeBusPresence,
	withPresence,
	type RealtimePresence
} from '../../src/lib/client/index.js';
import { createTestBus, createTestRealtime } from '../../src/lib/testing/index.js';
import Harness from '../support/client/Harness.svelte';
import Inside from '../support/client/Inside.svelte';

const board = withPresence(
	channel('board').addTopic(topic('note').type<string>()),
	z.object({ name: z.string(), x: z.number().optional(), isTyping: z.boolean().optional() })
);
type Data = { name: string; x?: number; isTyping?: boolean };

const text = (people: RealtimePresence<Data>): string =>
	`[${people.current.map(({ data: { name, x = '', isTyping } }) => `${name}${x}${isTyping ? '…' : ''}`).join(' ')}]`;

test('a test bus says who is there, and shows what the component sends', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
	const bus = createTestBus([{ channel: board }]);
	const heard: string[] = [];
	let people!: RealtimePresence<Data>;
	const setup = () => {
		people = getRealtimeBusPresence(board);
		people.onJoin(({ id }) => heard.push(`+${id}`));
		people.onLeave(({ id }) => heard.push(`-${id}`));
		return () => text(people);
	};
	const screen = await render(Inside, { props: { setup }, context: bus.context });
	const server = bus.presence(board);
	await expect.element(screen.getByText('[]')).toBeVisible();
	server.set(
		[
			{ id: 'alice', data: { name: 'Alice' } },
			{ id: 'bob', data: { name: 'Bob' }, streams: 2 }
		],
		{ self: 'alice' }
	);
	await expect.element(screen.getByText('[Alice Bob]')).toBeVisible();
	expect(people.self?.id).toBe('alice');
	expect(people.others.map(({ id, streams }) => [id, streams])).toEqual([['bob', 2]]);
	server.join({ id: 'carol', data: { name: 'Carol' } });
	server.update('bob', { x: 3 });
	server.leave('bob');
	await expect.element(screen.getByText('[Alice Carol]')).toBeVisible();
	expect(heard).toEqual(['+carol', '-bob']);

	people.update({ x: 7 });
	await expect.poll(() => server.updates).toEqual([{ data: { x: 7 } }]);
	await expect.element(screen.getByText('[Alice7 Carol]')).toBeVisible();
	people.update({ isTyping: true }, { ttlMs: 2_000 });
	await expect.poll(() => server.updates[1]).toEqual({ data: { isTyping: true }, ttlMs: 2_000 });
	await expect.element(screen.getByText('[Alice7… Carol]')).toBeVisible();
	vi.advanceTimersByTime(2_000);
	await expect.element(screen.getByText('[Alice7 Carol]')).toBeVisible();
	expect(server.members.map(({ data }) => data)).toEqual([
		{ name: 'Alice', x: 7 },
		{ name: 'Carol' }
	]);
	vi.useRealTimers();
});

test('a component that is mounted later, and one that only reads', async () => {
	const bus = createTestBus([{ channel: board }]);
	const server = bus.presence(board);
	server.set([{ id: 'bob', data: { name: 'Bob' } }]);
	let people!: RealtimePresence<Data>;
	const screen = await render(Inside, {
		props: { setup: () => ((people = getRealtimeBusPresence(board)), () => text(people)) },
		context: bus.context
	});
	await expect.element(screen.getByText('[Bob]')).toBeVisible();
	expect(people.self).toBeNull();
	expect(people.others).toHaveLength(1);
	people.update({ x: 1 });
	await expect.poll(() => server.updates).toEqual([{ data: { x: 1 } }]);
	expect(server.members[0]!.data).toEqual({ name: 'Bob' });
});

test('pages of two people against the real endpoint', async () => {
	const realtime = createTestRealtime({
		identify: ({ locals }) => locals.user?.name ?? null,
		channels: {
			board: {
				channel: board,
				authorize: () => true,
				presence: {
					graceMs: 0,
					member: ({ locals }) => ({ data: { name: locals.user!.name } })
				}
			}
		}
	});
	const pages: Record<string, RealtimePresence<Data>> = {};
	const open = (name: string) =>
		render(Harness, {
			fetch: realtime.as({ user: { name, role: 'member' } } as App.Locals),
			subscriptions: [{ channel: board }],
			setup: () => ((pages[name] = getRealtimeBusPresence(board)), () => text(pages[name]!))
		});
	const alice = await open('alice');
	const bob = await open('bob');
	await expect.element(alice.getByText('[alice bob]').first()).toBeVisible();
	pages.alice!.update({ x: 5 });
	await expect.poll(() => text(pages.bob!)).toBe('[alice5 bob]');
	await bob.unmount();
	await expect.poll(() => text(pages.alice!)).toBe('[alice5]');
	await alice.unmount();
	realtime.close();
});
