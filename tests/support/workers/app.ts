// An isolate of the app: an endpoint at `/`, and what tests ask of it.
import type { RequestEvent } from '@sveltejs/kit';
import { durableObjectBackend } from '../../../src/lib/cloudflare/index.js';
import type {
	DurableObjectBackend,
	ObjectNamespaceLike
} from '../../../src/lib/cloudflare/index.js';
import type { RealtimeEndpointOptions } from '../../../src/lib/server/options.js';
import { createRealtime, type Realtime } from '../../../src/lib/server/index.js';
import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';
import { demoChannel, userChannel } from '../channels.js';

/** Only what is emitted goes through it. */
const silentChannel = channel('silent').addTopic(
	topic('message').schema(z.object({ message: z.string() }))
);

/** Its readers see each other. */
const boardChannel = channel('board').addTopic(
	topic('message').schema(z.object({ message: z.string() }))
);

/** Its readers are two at most. */
const roomChannel = channel('room').addTopic(
	topic('message').schema(z.object({ message: z.string() }))
);

interface Env {
	INNGEST: string;
	/** How many objects there are. */
	SHARDS?: string;
	REALTIME?: ObjectNamespaceLike;
}

let realtime: Realtime | undefined;
let backend: DurableObjectBackend | undefined;
const failures: string[] = [];
/** Which hooks were called in this isolate. */
const hooks: string[] = [];
/** Who may not read any more. */
const revoked = new Set<string>();

function endpoint(env: Env): Realtime {
	if (realtime) return realtime;
	const options: Partial<RealtimeEndpointOptions> = {
		inngest: {
			id: 'test',
			inngestApi: { getTargetUrl: async (path: string) => new URL(path, env.INNGEST) }
		} as never,
		backend: (backend = durableObjectBackend(
			(platform: { env: Env }) => platform.env.REALTIME,
			env.SHARDS ? { shards: Number(env.SHARDS) } : {}
		)),
		identify: ({ event }) => {
			const id = event.request.headers.get('x-user');
			if (id === null) return null;
			const identity = { id, role: event.request.headers.get('x-role') };
			return event.request.headers.has('x-odd') ? { ...identity, ...oddAttributes() } : identity;
		},
		channels: {
			demo: { channel: demoChannel, authorize: ({ event }) => isAllowed(event) },
			user: {
				channel: userChannel,
				channelParams: ((_event: unknown, id: string) =>
					id.startsWith('user:') ? id.slice(5) : '') as never,
				authorize: ({ event }) => isAllowed(event),
				reauthorizeOnEachMessage: true,
				reauthorize: ({ event, message }) =>
					isAllowed(event) && !(message!.data as { message: string }).message.includes('secret')
			},
			board: {
				channel: boardChannel,
				authorize: ({ event }) => isAllowed(event),
				presence: {
					graceMs: 200,
					schema: z
						.object({ isTyping: z.boolean().optional(), slowMs: z.number().optional() })
						.refine(async ({ slowMs }) => {
							if (slowMs) await pause(slowMs);
							return true;
						}),
					onJoin: ({ member }) => void hooks.push(`join ${member.id}`),
					onLeave: ({ member }) => void hooks.push(`leave ${member.id}`)
				}
			},
			room: {
				channel: roomChannel,
				authorize: () => true,
				presence: { graceMs: 0, maxMembers: 2 }
			},
			silent: {
				channel: silentChannel,
				source: false,
				authorize: () => true
			}
		},
		heartbeatMs: 200,
		recheckIntervalMs: 500,
		healthCheck: { intervalMs: 250 },
		onFailure: ({ message, error }) =>
			void failures.push(`${message} ${error instanceof Error ? error.message : ''}`)
	};
	return (realtime = createRealtime(options as RealtimeEndpointOptions));
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What JSON cannot carry, and a date. */
function oddAttributes(): Record<string, unknown> {
	const circle: Record<string, unknown> = {};
	circle.self = circle;
	return { circle, big: 10n, call: () => 1, since: new Date(0), none: undefined };
}

const userOf = ({ request }: { request: Request }): string => request.headers.get('x-user') ?? '';
const isAllowed = (event: RequestEvent): boolean => !revoked.has(userOf(event));

export default {
	async fetch(request: Request, env: Env, ctx: unknown): Promise<Response> {
		const url = new URL(request.url);
		const realtime = endpoint(env);
		const platform = { env, ctx };
		// As `handle` does.
		backend!.use(platform);
		const event = {
			request,
			url,
			platform,
			locals: {},
			route: { id: '/' },
			getClientAddress: () => ''
		};
		const body = async (): Promise<Record<string, never>> => (await request.json()) as never;
		try {
			switch (url.pathname) {
				case '/emit': {
					const { channel, text, key } = await body();
					const topic = (channel === 'silent' ? silentChannel : demoChannel)().message;
					return Response.json(await realtime.emit(topic, { message: text! }, key ? { key } : {}));
				}
				case '/history':
					return Response.json(await realtime.history(demoChannel, { limit: 10 }));
				case '/cursor':
					return Response.json(await realtime.cursor(demoChannel));
				case '/clear':
					await realtime.clear(demoChannel);
					return new Response();
				case '/once': {
					let ran = false;
					const { key, slowMs, size } = await body();
					const answer = await realtime.once(key!, async () => {
						ran = true;
						if (slowMs) await pause(slowMs);
						return size ? 'x'.repeat(size) : Math.random();
					});
					return Response.json({ answer, ran });
				}
				case '/ban':
					await realtime.ban((await body()).key!, 60_000);
					return new Response();
				case '/members':
					return Response.json(await realtime.members(boardChannel));
				case '/hooks':
					return Response.json(hooks.splice(0));
				case '/isOnline':
					return Response.json(await realtime.isOnline((await body()).user!));
				case '/readers': {
					const { channel } = await body();
					return Response.json(
						await realtime.readers(channel === 'board' ? boardChannel : demoChannel)
					);
				}
				case '/emitTo': {
					const { user, target = user, text } = await body();
					const { message } = demoChannel();
					return Response.json(await realtime.emitTo(target!, message, { message: text! }));
				}
				case '/ask': {
					const { user, text, timeoutMs } = await body();
					const { message } = boardChannel();
					const options = timeoutMs ? { timeoutMs } : {};
					return Response.json(await realtime.ask(user!, message, { message: text! }, options));
				}
				case '/recheck':
					await realtime.recheck((await body()).user);
					return new Response();
				case '/remove':
					return Response.json(
						await realtime.remove(demoChannel, (await body()).user!, 'Removed.')
					);
				case '/end':
					return Response.json(await realtime.end(demoChannel, 'Over.'));
				case '/revoke':
					revoked.add((await body()).user!);
					return new Response();
				case '/stats':
					return Response.json({ ...realtime.stats(), failures });
			}
			return await (request.method === 'GET' ? realtime.GET : realtime.POST)(event as never);
		} catch (error) {
			return Response.json(
				{ error: String(error), code: (error as { code?: string }).code },
				{ status: 500 }
			);
		}
	}
};
