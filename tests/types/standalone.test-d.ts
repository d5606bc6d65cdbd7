import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
	createRealtimeBus,
	defineEvent,
	getRealtimeBusState,
	type RealtimeStandaloneBus
} from '../../src/lib/client/index.js';
import { createRealtimeBus as forScripts } from '../../src/lib/client/standalone.js';
import { demoChannel, userChannel } from '../support/channels.js';

const say = defineEvent('demo/say', {
	schema: z.object({ message: z.string() }),
	result: z.object({ said: z.string() })
});
const bus = createRealtimeBus({ endpoint: 'https://example.com/api/events' });

test('handlers get the messages of the topics that were named', () => {
	expectTypeOf(bus).toEqualTypeOf<RealtimeStandaloneBus>();
	expectTypeOf(forScripts).toEqualTypeOf(createRealtimeBus);
	const stop = bus.subscribe(demoChannel, { topics: ['message'] }, (message) => {
		expectTypeOf(message.topic).toEqualTypeOf<'message'>();
		expectTypeOf(message.data).toEqualTypeOf<{ message: string }>();
		expectTypeOf(message.cursor).toBeString();
	});
	expectTypeOf(stop).toEqualTypeOf<() => void>();
	bus.subscribe(demoChannel, {}, ({ topic }) => {
		expectTypeOf(topic).toEqualTypeOf<'message' | 'admin-message'>();
	});
	bus.subscribe(demoChannel, { topics: ['message', '$run'] }, ({ topic }) => {
		expectTypeOf(topic).toEqualTypeOf<'message' | '$run'>();
	});
	bus.subscribe(userChannel, { channelParams: 'alice', params: { a: 1 }, history: 5 }, () => {});
	// @ts-expect-error The name is made of a text.
	bus.subscribe(userChannel, { channelParams: 1 }, () => {});
	// @ts-expect-error No topic of the channel.
	bus.subscribe(demoChannel, { topics: ['other'] }, () => {});
	// @ts-expect-error It begins either here or there.
	bus.subscribe(demoChannel, { since: 'a-1', history: 1 }, () => {});
});

test('it sends what the definition says, and hooks take it', async () => {
	const { result, status } = await bus.send(say, { message: 'hi' }, { id: 'one' });
	expectTypeOf(result).toEqualTypeOf<{ said: string }>();
	expectTypeOf(status).toEqualTypeOf<'done' | 'queued'>();
	// @ts-expect-error The schema wants a text.
	void bus.send(say, { message: 1 });
	bus.subscribe({ channel: demoChannel, topics: ['message'] });
	getRealtimeBusState(demoChannel, { bus });
	// @ts-expect-error Without an endpoint there is nobody to ask.
	createRealtimeBus({});
});

test('the name of an event is part of its type', () => {
	expectTypeOf(say.name).toEqualTypeOf<'demo/say'>();
});
