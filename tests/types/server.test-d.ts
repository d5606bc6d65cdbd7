import { channel, topic } from '@inngest/realtime';
import type { RequestEvent, RequestHandler } from '@sveltejs/kit';
import type { Inngest } from 'inngest';
import { Agent } from 'node:https';
import { expectTypeOf, test } from 'vitest';
import { WebSocket as NodeWebSocket } from 'ws';
import { z } from 'zod';
import {
	createRealtime,
	createRealtimeEndpoint,
	RealtimeDenied,
	type RealtimeAuthorizeContext,
	type RealtimeChannelConfig,
	type RealtimeIdentify,
	type RealtimeIdentity,
	type RealtimeLimits,
	type RealtimeReauthorizeContext,
	type RealtimeServerFailureContext,
	type RealtimeServerFailureStage,
	type RealtimeUpstreamOptions
} from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';

declare const inngest: Inngest;

const dated = channel('dated').addTopic(
	topic('at').schema(z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }))
);
const pair = channel((team: string, room: number) => `room:${team}:${room}`).addTopic(
	topic('message').type<{ text: string }>()
);

type Params = Record<string, string | number | boolean | null>;

test('callbacks know their topics, params and event without annotations', () => {
	const handler = createRealtimeEndpoint({
		inngest,
		channels: {
			demo: {
				channel: demoChannel,
				authorize: ({ topics, params, event, locals, request, channelId }) => {
					expectTypeOf(topics).toEqualTypeOf<('message' | 'admin-message')[]>();
					expectTypeOf(params).toEqualTypeOf<Params>();
					expectTypeOf(event).toEqualTypeOf<RequestEvent>();
					expectTypeOf(locals).toEqualTypeOf<App.Locals>();
					expectTypeOf(request).toEqualTypeOf<Request>();
					expectTypeOf(channelId).toEqualTypeOf<string>();
					return { allowedTopics: topics.filter((topic) => topic === 'message') };
				},
				reauthorize: ({ messageTopic, message, topics }) => {
					expectTypeOf(messageTopic).toEqualTypeOf<'message' | 'admin-message'>();
					expectTypeOf(topics).toEqualTypeOf<('message' | 'admin-message')[]>();
					if (message.topic === 'message') {
						expectTypeOf(message.data).toEqualTypeOf<{ message: string }>();
					}
					return true;
				}
			},
			dated: {
				channel: dated,
				authorize: async ({ topics }) => {
					expectTypeOf(topics).toEqualTypeOf<'at'[]>();
					return true;
				},
				reauthorize: async ({ message }) => {
					// As it is sent: after JSON.
					expectTypeOf(message.data).toEqualTypeOf<{ at: string }>();
					return true;
				}
			}
		},
		onFailure: (failure) => {
			expectTypeOf(failure).toEqualTypeOf<RealtimeServerFailureContext>();
			expectTypeOf(failure.stage).toEqualTypeOf<RealtimeServerFailureStage>();
			return { message: failure.message };
		}
	});
	expectTypeOf(handler).toEqualTypeOf<RequestHandler>();
});

test('topics that the channel has not are refused', () => {
	createRealtimeEndpoint({
		inngest,
		channels: {
			demo: {
				channel: demoChannel,
				// @ts-expect-error No such topic.
				authorize: () => ({ allowedTopics: ['nope'] })
			}
		}
	});
	createRealtimeEndpoint({
		inngest,
		channels: {
			// @ts-expect-error `$run` is no topic where the entry does not say so.
			demo: {
				channel: demoChannel,
				authorize: () => ({ allowedTopics: ['$run'] })
			}
		}
	});
	createRealtimeEndpoint({
		inngest,
		channels: {
			demo: {
				channel: demoChannel,
				// @ts-expect-error Neither a boolean nor a list of topics.
				authorize: () => 'yes'
			}
		}
	});
});

test('`run: true` adds $run to the topics', () => {
	createRealtimeEndpoint({
		inngest,
		channels: {
			demo: {
				channel: demoChannel,
				run: true,
				authorize: ({ topics }) => {
					expectTypeOf(topics).toEqualTypeOf<('message' | 'admin-message' | '$run')[]>();
					return { allowedTopics: ['$run'] };
				},
				reauthorize: ({ messageTopic }) => {
					expectTypeOf(messageTopic).toEqualTypeOf<'message' | 'admin-message' | '$run'>();
					return true;
				}
			}
		}
	});
});

test('channelParams are those of the channel’s builder, given or resolved', () => {
	const authorize = (): boolean => true;
	createRealtimeEndpoint({
		inngest,
		channels: {
			fixed: { channel: userChannel, channelParams: 'alice', authorize },
			listed: { channel: userChannel, channelParams: ['alice'], authorize },
			resolved: {
				channel: userChannel,
				channelParams: (event, requestedChannelId, requestParams) => {
					expectTypeOf(event).toEqualTypeOf<RequestEvent>();
					expectTypeOf(requestedChannelId).toEqualTypeOf<string>();
					expectTypeOf(requestParams).toEqualTypeOf<Params>();
					return requestedChannelId.slice('user:'.length);
				},
				authorize
			},
			later: { channel: userChannel, channelParams: async (_event, id) => id, authorize },
			several: { channel: pair, channelParams: ['red', 7], authorize },
			severalResolved: {
				channel: pair,
				channelParams: (_event, id) => [id, Number(id)] as const,
				authorize
			}
		}
	});
	createRealtimeEndpoint({
		inngest,
		channels: {
			// @ts-expect-error The builder takes a text.
			user: { channel: userChannel, channelParams: 5, authorize }
		}
	});
	createRealtimeEndpoint({
		inngest,
		channels: {
			// @ts-expect-error The builder takes a text.
			user: { channel: userChannel, channelParams: () => 5, authorize }
		}
	});
	createRealtimeEndpoint({
		inngest,
		channels: {
			// @ts-expect-error The builder takes two.
			pair: { channel: pair, channelParams: ['red'], authorize }
		}
	});
});

test('authorize is required, and entries are what they are said to be', () => {
	createRealtimeEndpoint({
		inngest,
		// @ts-expect-error Nobody says who may read it.
		channels: { demo: { channel: demoChannel } }
	});
	createRealtimeEndpoint({
		inngest,
		// @ts-expect-error No channel.
		channels: { demo: { channel: {}, authorize: () => true } }
	});
	createRealtimeEndpoint({
		inngest,
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		// @ts-expect-error No such option.
		reauthorizeOnEachMesage: true
	});
});

test('an entry can be written apart from its endpoint', () => {
	const entry: RealtimeChannelConfig<typeof demoChannel> = {
		channel: demoChannel,
		authorize: ({ topics }) => ({ allowedTopics: topics })
	};
	const { GET, POST } = createRealtime({ inngest, channels: { demo: entry } });
	expectTypeOf(GET).toEqualTypeOf<RequestHandler>();
	expectTypeOf(POST).toEqualTypeOf<RequestHandler>();
});

test('a denial is an error of its own; what failed is told by its name', () => {
	createRealtimeEndpoint({
		inngest,
		callbackTimeoutMs: 5_000,
		allowCrossSite: true,
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => {
					throw new RealtimeDenied('Sign in first', { cause: 'no session' });
				}
			}
		},
		onFailure: ({ callback }) => {
			expectTypeOf(callback).toEqualTypeOf<string | undefined>();
		}
	});
	expectTypeOf<RealtimeDenied>().toExtend<Error>();
	expectTypeOf<RealtimeDenied['name']>().toEqualTypeOf<'RealtimeDenied'>();
});

test('identify answers with an id, an object with one, or null', () => {
	const channels = { demo: { channel: demoChannel, authorize: () => true } };
	createRealtimeEndpoint({
		inngest,
		channels,
		identify: ({ locals, event }) => {
			expectTypeOf(locals).toEqualTypeOf<App.Locals>();
			expectTypeOf(event).toEqualTypeOf<RequestEvent>();
			return null;
		}
	});
	createRealtimeEndpoint({ inngest, channels, identify: async () => ({ id: 'a', name: 'Alice' }) });
	createRealtimeEndpoint({
		inngest,
		channels,
		// @ts-expect-error A reader without a name is null.
		identify: () => undefined
	});
	createRealtimeEndpoint({
		inngest,
		channels,
		// @ts-expect-error An id is a text.
		identify: () => ({ id: 5 })
	});
	expectTypeOf<() => string>().toExtend<RealtimeIdentify>();
	expectTypeOf<RealtimeIdentity['id']>().toEqualTypeOf<string>();
});

test('the key of a limit may be found asynchronously', () => {
	expectTypeOf<{ key: () => Promise<string> }>().toExtend<RealtimeLimits>();
	expectTypeOf<{ key: () => string }>().toExtend<RealtimeLimits>();
});

test('contexts can be named', () => {
	expectTypeOf<RealtimeAuthorizeContext['topics']>().toEqualTypeOf<string[]>();
	expectTypeOf<RealtimeAuthorizeContext<'a' | 'b'>['topics']>().toEqualTypeOf<('a' | 'b')[]>();
	expectTypeOf<RealtimeReauthorizeContext>().toExtend<RealtimeAuthorizeContext>();
	expectTypeOf<RealtimeReauthorizeContext<'a'>['messageTopic']>().toEqualTypeOf<'a'>();
	expectTypeOf<RealtimeReauthorizeContext['message']>().toBeUnknown();
});

test('the socket may be of `ws` or of the platform, or made through an agent', () => {
	class Mine extends NodeWebSocket {
		constructor(url: string) {
			super(url, { headers: {} });
		}
	}
	const given: RealtimeUpstreamOptions[] = [
		{ WebSocket },
		{ WebSocket: NodeWebSocket },
		{ WebSocket: Mine },
		{ agent: new Agent() }
	];
	void given;
	// @ts-expect-error An instance is not a class.
	void ({ WebSocket: new NodeWebSocket('') } satisfies RealtimeUpstreamOptions);
	// @ts-expect-error The URL of a proxy is not an agent.
	void ({ agent: 'http://127.0.0.1:3128' } satisfies RealtimeUpstreamOptions);
});
