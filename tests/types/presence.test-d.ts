import { channel, topic } from '@inngest/realtime';
import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { getRealtimeBusPresence, onAsk, withPresence } from '../../src/lib/index.js';
import { createRealtime, type Realtime, type RealtimeMember } from '../../src/lib/server/index.js';
import { createTestBus } from '../../src/lib/testing/index.js';
import { inngestAt } from '../support/world.js';

const plain = channel('plain').addTopic(topic('message').type<string>());
const board = withPresence(
	channel('board').addTopic(topic('note').type<{ text: string }>()),
	z.object({ name: z.string(), x: z.number().optional(), since: z.date().optional() })
);
const room = withPresence(
	channel((id: string) => `room:${id}`).addTopic(topic('note').type<string>()),
	z.object({ name: z.string() })
);

test('the hook is typed by the channel', () => {
	const people = getRealtimeBusPresence(board);
	expectTypeOf(people.current[0]!.data).toEqualTypeOf<{
		name: string;
		x?: number;
		since?: string;
	}>();
	people.update({ x: 1 }, { ttlMs: 100 });
	// @ts-expect-error x is a number
	people.update({ x: 'left' });
	// @ts-expect-error there is no such field
	people.update({ y: 1 });
	people.onJoin(({ data }) => expectTypeOf(data.name).toEqualTypeOf<string>());
	expectTypeOf(
		getRealtimeBusPresence(room, { channelParams: 'a' }).self
	).toEqualTypeOf<RealtimeMember<{
		name: string;
	}> | null>();
	// @ts-expect-error the parameter is a text
	getRealtimeBusPresence(room, { channelParams: 1 });
	expectTypeOf(getRealtimeBusPresence(plain).current[0]!.data).toEqualTypeOf<
		Record<string, unknown>
	>();
});

test('the registry is typed by the channel', () => {
	createRealtime({
		inngest: inngestAt(''),
		channels: {
			board: {
				channel: board,
				authorize: () => true,
				presence: { member: () => ({ data: { name: 'Alice' } }), fixed: ['name'] }
			},
			wrong: {
				channel: board,
				authorize: () => true,
				presence: {
					// @ts-expect-error the name is missing
					member: () => ({ data: { x: 1 } }),
					// @ts-expect-error there is no such field
					fixed: ['y']
				}
			},
			room: { channel: room, channelParams: 'a', authorize: () => true, presence: {} },
			plain: { channel: plain, authorize: () => true, presence: { member: () => ({ id: 'a' }) } }
		}
	});
});

test('the controls are typed by channels and topics', async () => {
	const realtime = {} as Realtime;
	expectTypeOf((await realtime.members(room, { channelParams: 'a' }))[0]!.data).toEqualTypeOf<{
		name: string;
	}>();
	await realtime.emitTo('alice', board().note, { text: 'hi' });
	await realtime.emitTo({ role: 'admin' }, board().note, { text: 'hi' });
	// @ts-expect-error it is an object
	await realtime.emitTo('alice', board().note, 'hi');
	expectTypeOf(await realtime.ask('alice', board().note, { text: 'x' })).toEqualTypeOf<unknown>();
	onAsk(board, 'note', ({ text }, { signal }) => {
		expectTypeOf(text).toEqualTypeOf<string>();
		expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
	});
	// @ts-expect-error there is no such topic
	onAsk(board, 'other', () => {});
});

test('a test bus takes members as the channel describes them', () => {
	const bus = createTestBus([{ channel: board }, { channel: room, channelParams: 'a' }]);
	const people = bus.presence(board);
	people.set([{ id: 'alice', data: { name: 'Alice', since: '2026-01-01' } }], { self: 'alice' });
	people.update('alice', { x: 1 });
	expectTypeOf(people.updates[0]!.data.x).toEqualTypeOf<number | undefined>();
	// @ts-expect-error its data has a name
	people.join({ id: 'bob', data: {} });
	// @ts-expect-error there is no such field
	people.update('alice', { z: 1 });
	bus.presence(room, { channelParams: 'a' }).join({ id: 'bob', data: { name: 'Bob' } });
	// @ts-expect-error it is not one of its channels
	bus.presence(plain);
});
