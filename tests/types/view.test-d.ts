import type { RequestEvent } from '@sveltejs/kit';
import { expectTypeOf, test } from 'vitest';
import { createRealtime, type RealtimeViewContext } from '../../src/lib/server/index.js';
import type { RealtimeRequestParams } from '../../src/lib/protocol/request.js';
import { demoChannel, userChannel } from '../support/channels.js';

const inngest = { id: 'x' };

test('a view gets the messages of its channel, and returns one of the same shape or null', () => {
	createRealtime({
		inngest,
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => true,
				view: ({ locals, event, params, message }) => {
					expectTypeOf(locals).toEqualTypeOf<App.Locals>();
					expectTypeOf(event).toEqualTypeOf<RequestEvent>();
					expectTypeOf(params).toEqualTypeOf<RealtimeRequestParams>();
					expectTypeOf(message.topic).toEqualTypeOf<'message' | 'admin-message'>();
					expectTypeOf(message.data).toEqualTypeOf<{ message: string }>();
					if (message.topic === 'admin-message') return null;
					return { ...message, data: { message: message.data.message.trim() } };
				}
			},
			user: {
				channel: userChannel,
				channelParams: (_event, name) => name.slice(5),
				authorize: () => true,
				view: async ({ message }) => message
			}
		}
	});
	createRealtime({
		inngest,
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => true,
				// @ts-expect-error The topic's schema wants a text.
				view: ({ message }) => ({ ...message, data: { message: 1 } })
			}
		}
	});
	createRealtime({
		inngest,
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => true,
				// @ts-expect-error Nothing is not `null`.
				view: () => undefined
			}
		}
	});
	expectTypeOf<RealtimeViewContext>().toHaveProperty('message').toBeUnknown();
});

test('server code reads on behalf of a request', () => {
	const realtime = createRealtime({
		inngest,
		channels: { demo: { channel: demoChannel, authorize: () => true } }
	});
	const event = {} as RequestEvent;
	void realtime.history(demoChannel, { event, params: { team: 1 }, limit: 2 });
	void realtime.subscribe(demoChannel, { event, params: { team: 'a' }, history: 2 });
	// @ts-expect-error Parameters are primitives.
	void realtime.history(demoChannel, { params: { team: {} } });
});
