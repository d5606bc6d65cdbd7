import { error, type RequestEvent } from '@sveltejs/kit';
import type { TRPCClientError } from '@trpc/client';
import { createTRPCClient, httpBatchLink, httpSubscriptionLink, splitLink } from '@trpc/client';
import { initTRPC, TRPCError } from '@trpc/server';
import { fetchRequestHandler } from '@trpc/server/adapters/fetch';
import { EventSource } from 'eventsource';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { defineEvent } from '../../src/lib/protocol/event.js';
import {
	createRealtime,
	RealtimeDenied,
	type RealtimeEndpointOptions,
	type RealtimeServerFailureContext
} from '../../src/lib/server/index.js';
import { createTestRealtime, type TestRealtime } from '../../src/lib/testing/index.js';
import { realtimeErrorData, realtimeRouter } from '../../src/lib/trpc/index.js';
import { codeOf } from '../../src/lib/trpc/errors.js';
import { isFatalStatus } from '../../src/lib/protocol/status.js';
import { demoChannel } from '../support/channels.js';
import { serve } from '../support/server.js';
import { clientAt } from '../support/upstream.js';
import { eventually } from '../support/wait.js';

const say = defineEvent('demo/say', {
	schema: z.object({ message: z.string().min(1), count: z.number().default(1) }),
	result: z.object({ said: z.string() })
});
const start = defineEvent('jobs/start', { schema: z.object({ jobId: z.string() }) });

const closing: (() => unknown)[] = [];
afterEach(async () => {
	for (const close of closing.splice(0).reverse()) await close();
});

type Options = Partial<Omit<Parameters<typeof createTestRealtime>[0], 'channels' | 'events'>> & {
	channel?: object;
	sse?: object;
};

function endpoint({ channel, ...options }: Options = {}) {
	return createTestRealtime({
		channels: { demo: { channel: demoChannel, authorize: () => true, ...channel } },
		events: {
			say: {
				event: say,
				authorize: ({ locals }) => (locals as { name?: string }).name !== 'nobody',
				async run({ emit }, { message, count }) {
					if (message === 'fail') throw new Error('secret');
					if (message === 'refuse') error(409, 'Not now');
					for (let n = 0; n < count; n++) await emit(demoChannel().message, { message });
					return { said: message };
				}
			},
			start: { event: start, authorize: () => true }
		},
		identify: ({ locals }) => (locals as { name?: string }).name ?? null,
		healthCheck: { intervalMs: 100 },
		onFailure() {},
		...options
	});
}

function serveRouter<const TRealtime extends ReturnType<typeof endpoint>>(
	realtime: TRealtime,
	sse: object = {}
) {
	const t = initTRPC.context<{ event: RequestEvent; more: number }>().create({
		sse,
		errorFormatter: ({ shape, error }) => ({
			...shape,
			data: { ...shape.data, realtime: realtimeErrorData(error) }
		})
	});
	const router = t.router({ realtime: realtimeRouter(t, realtime) });
	const handler = ((event: RequestEvent) =>
		fetchRequestHandler({
			endpoint: '/trpc',
			req: event.request,
			router,
			createContext: () => ({ event, more: 1 })
		})) as never;
	const errors: (Error | null)[] = [];
	return { router, handler: { GET: handler, POST: handler }, errors };
}

async function connect(options: Options = {}) {
	const realtime = endpoint(options);
	const { router, handler } = serveRouter(realtime, options.sse);
	const server = await serve(handler, {
		locals: (request) => ({ name: request.headers.get('x-user') ?? undefined })
	});
	closing.push(
		() => realtime.close(),
		() => server.close()
	);
	const url = `${server.url}trpc`;
	const client = (user?: string) => {
		const headers: Record<string, string> = user ? { 'x-user': user } : {};
		return createTRPCClient<typeof router>({
			links: [
				splitLink({
					condition: ({ type }) => type === 'subscription',
					true: httpSubscriptionLink({
						url,
						EventSource,
						eventSourceOptions: {
							fetch: (input: string, init: RequestInit) =>
								fetch(input, { ...init, headers: { ...init.headers, ...headers } })
						} as never
					}),
					false: httpBatchLink({ url, headers })
				})
			]
		}).realtime;
	};
	return { realtime, server, router, client, trpc: client() };
}

type Client = Awaited<ReturnType<typeof connect>>['trpc'];

/** A subscription, and what came of it. */
function follow(trpc: Client, input: Parameters<Client['subscribe']['subscribe']>[0]) {
	const items: {
		id: string;
		data: { kind: string; data?: { message: string }; reason?: string };
	}[] = [];
	const states: { state: string; code?: string }[] = [];
	const ends: string[] = [];
	const errors: TRPCClientError<never>[] = [];
	const { unsubscribe } = trpc.subscribe.subscribe(input, {
		onData: (item) => void items.push(item as never),
		onError: (error) => void errors.push(error as never),
		onStopped: () => void ends.push('stopped'),
		onComplete: () => void ends.push('complete'),
		onConnectionStateChange: ({ state, error }) =>
			void states.push({ state, code: (error?.data as { code?: string } | undefined)?.code })
	});
	closing.push(unsubscribe);
	return {
		items,
		states,
		ends,
		errors,
		unsubscribe,
		get texts() {
			return items.map(({ data }) => data.data?.message ?? data.kind);
		}
	};
}

const streams = (realtime: TestRealtime | { stats(): { streams: number } }) =>
	realtime.stats().streams;

test('an event is sent, its result is typed, and its emits arrive with their cursors', async () => {
	const { trpc, realtime } = await connect();
	const reader = follow(trpc, { channel: 'demo', topics: ['message'] });
	await eventually(() => streams(realtime) === 1);
	const sent = await trpc.sendEvent.mutate({
		name: 'demo/say',
		payload: { message: 'hello' },
		clientEventId: 'mine'
	});
	expect(sent).toEqual({
		status: 'done',
		result: { said: 'hello' },
		emittedEvents: [{ channel: 'demo', topic: 'message', cursor: expect.any(String) }]
	});
	await eventually(() => reader.items.length === 1);
	expect(reader.items[0]).toEqual({
		id: sent.emittedEvents![0]!.cursor,
		data: expect.objectContaining({
			topic: 'message',
			data: { message: 'hello' },
			clientEventId: 'mine',
			cursor: sent.emittedEvents![0]!.cursor
		})
	});
	// The same id again: the answer of the first run.
	const again = { name: 'demo/say', payload: { message: 'hello' }, clientEventId: 'mine' } as const;
	expect(await trpc.sendEvent.mutate(again)).toEqual(sent);
	expect(await trpc.sendEvent.mutate({ name: 'jobs/start', payload: { jobId: '1' } })).toEqual({
		status: 'queued'
	});
	expect(reader.texts).toEqual(['hello']);
});

async function afterCut(): Promise<void> {
	const { trpc, realtime, server } = await connect();
	const reader = follow(trpc, { channel: 'demo' });
	await eventually(() => streams(realtime) === 1);
	const emit = (message: string) => realtime.emit(demoChannel().message, { message });
	await emit('a');
	await eventually(() => reader.items.length === 1);
	server.server.closeAllConnections();
	await emit('b');
	await emit('c');
	await eventually(() => reader.items.length === 3);
	await emit('d');
	await eventually(() => reader.items.length === 4);
	expect(reader.texts).toEqual(['a', 'b', 'c', 'd']);
	expect(reader.errors).toEqual([]);
	expect(streams(realtime)).toBe(1);
}

async function afterMaximum(): Promise<void> {
	const { trpc, realtime } = await connect({ sse: { maxDurationMs: 150 } });
	const reader = follow(trpc, { channel: 'demo', lastEventId: await realtime.cursor(demoChannel) });
	const expected = Array.from({ length: 60 }, (_, n) => `${n}`);
	for (const message of expected) {
		await realtime.emit(demoChannel().message, { message });
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
	await eventually(() => reader.items.length === 60);
	expect(reader.texts).toEqual(expected);
	expect(reader.ends).toEqual([]);
	reader.unsubscribe();
	await eventually(() => streams(realtime) === 0);
}

async function afterLifetime(): Promise<void> {
	const { trpc, realtime } = await connect({ limits: { maxLifetimeMs: 100 } });
	const reader = follow(trpc, { channel: 'demo', lastEventId: await realtime.cursor(demoChannel) });
	await eventually(() => streams(realtime) === 1);
	await realtime.emit(demoChannel().message, { message: 'a' });
	await eventually(() => reader.states.some(({ code }) => code === 'SERVICE_UNAVAILABLE'));
	await realtime.emit(demoChannel().message, { message: 'b' });
	await eventually(() => reader.items.length === 2);
	expect(reader.texts).toEqual(['a', 'b']);
	expect([reader.ends, reader.errors]).toEqual([[], []]);
}

test('a subscription resumes without a gap: after a cut, a maximum duration, the end of a stream', async () => {
	// At the same time, for an `EventSource` waits for three seconds.
	await Promise.all([afterCut(), afterMaximum(), afterLifetime()]);
});

test('a subscriber that goes ends its stream', async () => {
	const { trpc, realtime } = await connect();
	const reader = follow(trpc, { channel: 'demo' });
	await eventually(() => streams(realtime) === 1);
	reader.unsubscribe();
	await eventually(() => streams(realtime) === 0);
	expect(await realtime.readers(demoChannel)).toBe(0);
});

test('a gap is an item of its own: from another life of the log, and of the source', async () => {
	const { trpc, realtime } = await connect();
	const reader = follow(trpc, { channel: 'demo', lastEventId: 'other-7' });
	await eventually(() => reader.items.length === 1);
	expect(reader.items[0]).toMatchObject({
		id: 'other-7',
		data: { kind: 'resync', reason: 'restart', channel: 'demo' }
	});
	realtime.lose();
	realtime.restore();
	await eventually(() => reader.items.length === 2);
	expect(reader.items[1]!.data).toMatchObject({ kind: 'resync', reason: 'upstream-gap' });
	await realtime.emit(demoChannel().message, { message: 'after' });
	await eventually(() => reader.items.length === 3);
	expect(reader.texts).toEqual(['resync', 'resync', 'after']);
	expect(reader.items.every(({ id }) => id !== '')).toBe(true);
});

test('a source that cannot be reached is tried again by the link', async () => {
	const { trpc } = await connect({ channel: { source: undefined } });
	const reader = follow(trpc, { channel: 'demo' });
	await eventually(() => reader.states.some(({ code }) => code === 'SERVICE_UNAVAILABLE'));
	expect([reader.ends, reader.errors]).toEqual([[], []]);
});

describe('rights', () => {
	test('who may not read is told once, and not tried again', async () => {
		const authorize = vi.fn(() => error(403, 'Not yours'));
		const { trpc } = await connect({ channel: { authorize } });
		const reader = follow(trpc, { channel: 'demo' });
		await eventually(() => reader.errors.length === 1);
		expect(reader.errors[0]).toMatchObject({
			message: 'Not yours',
			data: { code: 'FORBIDDEN', realtime: { status: 403 } }
		});
		await expect(trpc.fetchHistory.query({ channel: 'demo' })).rejects.toMatchObject({
			data: { code: 'FORBIDDEN' }
		});
		expect(authorize).toHaveBeenCalledTimes(2);
	});

	test('a right that is lost while the stream is open ends it for good', async () => {
		let isDenied = false;
		const authorize = (): boolean => {
			if (isDenied) throw new RealtimeDenied('Signed out');
			return true;
		};
		const { client, realtime } = await connect({ channel: { authorize } });
		const reader = follow(client('alice'), { channel: 'demo' });
		await eventually(() => streams(realtime) === 1);
		isDenied = true;
		await realtime.recheck('alice');
		await eventually(() => reader.errors.length === 1);
		expect(reader.errors[0]).toMatchObject({
			message: 'Signed out',
			data: { code: 'FORBIDDEN', realtime: { status: 403, stage: 'reauthorization' } }
		});
		expect(streams(realtime)).toBe(0);
	});

	test('controls reach these readers too: end, remove, ban', async () => {
		const { client, realtime } = await connect();
		const [alice, bob] = [
			follow(client('alice'), { channel: 'demo' }),
			follow(client('bob'), { channel: 'demo' })
		];
		await eventually(() => streams(realtime) === 2);
		await realtime.remove(demoChannel, 'alice', 'Be polite');
		await eventually(() => alice.errors.length === 1);
		expect(alice.errors[0]).toMatchObject({ message: 'Be polite', data: { code: 'FORBIDDEN' } });
		await realtime.end(demoChannel, 'It is over');
		await eventually(() => bob.errors.length === 1);
		expect(bob.errors[0]).toMatchObject({
			message: 'It is over',
			data: { code: 'NOT_FOUND', realtime: { status: 410 } }
		});
		await realtime.ban('alice', 60_000);
		const banned = follow(client('alice'), { channel: 'demo' });
		await eventually(() => banned.errors.length === 1);
		expect(banned.errors[0]).toMatchObject({ data: { code: 'TOO_MANY_REQUESTS' } });
		await expect(
			client('alice').sendEvent.mutate({ name: 'demo/say', payload: { message: 'hi' } })
		).rejects.toMatchObject({
			data: { code: 'TOO_MANY_REQUESTS', realtime: { retryAfterMs: expect.any(Number) } }
		});
	});

	test('a reader sees what `view` shows it, also of the history', async () => {
		const { client, realtime } = await connect({
			channel: {
				view: ({ locals, message }: { locals: { name?: string }; message: never }) =>
					(message as { data: { message: string } }).data.message === locals.name ? message : null
			}
		});
		const reader = follow(client('alice'), { channel: 'demo' });
		await eventually(() => streams(realtime) === 1);
		for (const message of ['bob', 'alice']) {
			await realtime.emit(demoChannel().message, { message });
		}
		await eventually(() => reader.items.length === 1);
		expect(reader.texts).toEqual(['alice']);
		const { messages } = await client('alice').fetchHistory.query({ channel: 'demo' });
		expect(messages.map(({ data }) => data)).toEqual([{ message: 'alice' }]);
	});

	test('a rate limits streams, history and events, each by itself', async () => {
		const { client } = await connect({ limits: { rate: { points: 1, intervalMs: 60_000 } } });
		const trpc = client('alice');
		await trpc.fetchHistory.query({ channel: 'demo' });
		await trpc.sendEvent.mutate({ name: 'demo/say', payload: { message: 'hi' } });
		for (const refused of [
			trpc.fetchHistory.query({ channel: 'demo' }),
			trpc.sendEvent.mutate({ name: 'demo/say', payload: { message: 'hi' } })
		]) {
			await expect(refused).rejects.toMatchObject({ data: { code: 'TOO_MANY_REQUESTS' } });
		}
	});
});

test('history: the newest, and those after a cursor or a date; a subscription goes on from there', async () => {
	const { trpc, realtime } = await connect();
	const begin = new Date();
	const emit = (message: string) => realtime.emit(demoChannel().message, { message });
	const cursors = [];
	for (const text of ['a', 'b', 'c']) cursors.push((await emit(text)).cursor);
	const textsOf = async (input: object): Promise<unknown> =>
		(await trpc.fetchHistory.query({ channel: 'demo', ...input })).messages.map(
			({ data }) => (data as { message: string }).message
		);
	expect(await textsOf({})).toEqual(['a', 'b', 'c']);
	expect(await textsOf({ limit: 2 })).toEqual(['b', 'c']);
	expect(await textsOf({ since: cursors[0], limit: 1 })).toEqual(['b']);
	expect(await textsOf({ since: begin })).toEqual(['a', 'b', 'c']);
	expect(await textsOf({ since: new Date(Date.now() + 60_000).toISOString() })).toEqual([]);
	expect(await textsOf({ before: cursors[1] })).toEqual(['a']);
	for (const input of [{ since: 'nonsense' }, { before: '2026-01-01' }, { limit: 0 }]) {
		await expect(textsOf(input)).rejects.toMatchObject({ data: { code: 'BAD_REQUEST' } });
	}
	const { cursor } = await trpc.fetchHistory.query({ channel: 'demo', limit: 1 });
	await emit('d');
	const reader = follow(trpc, { channel: 'demo', lastEventId: cursor });
	await eventually(() => reader.items.length === 1);
	expect(reader.texts).toEqual(['d']);
});

describe('refusals of events', () => {
	const send = (trpc: Client, name: string, payload: unknown, more: object = {}) =>
		trpc.sendEvent.mutate({ name, payload, ...more } as never);

	test('have the codes of tRPC, the texts of the endpoint, and no stack', async () => {
		const { trpc, client } = await connect();
		const cases = [
			[() => send(trpc, 'no/such', {}), 'BAD_REQUEST'],
			[() => send(trpc, 'demo/say', { message: 'hi' }, { clientEventId: '' }), 'BAD_REQUEST'],
			[() => trpc.sendEvent.mutate('text' as never), 'BAD_REQUEST'],
			[() => trpc.sendEvent.mutate(undefined as never), 'BAD_REQUEST'],
			[() => send(trpc, undefined as never, {}), 'BAD_REQUEST'],
			[() => send(client('nobody'), 'demo/say', { message: 'hi' }), 'FORBIDDEN'],
			[() => send(trpc, 'demo/say', { message: 'refuse' }), 'CONFLICT'],
			[() => send(trpc, 'demo/say', { message: 'x'.repeat(70_000) }), 'PAYLOAD_TOO_LARGE'],
			[() => send(trpc, 'demo/say', { message: 'fail' }), 'INTERNAL_SERVER_ERROR']
		] as const;
		for (const [act, code] of cases) {
			const thrown: unknown = await act().catch((error: unknown) => error);
			expect(thrown).toMatchObject({ data: { code } });
			expect(JSON.stringify(thrown)).not.toContain('secret');
		}
	});

	test('say what does not match, and which id was used before', async () => {
		const { trpc } = await connect();
		await expect(send(trpc, 'demo/say', { message: '' })).rejects.toMatchObject({
			data: {
				code: 'UNPROCESSABLE_CONTENT',
				realtime: { status: 422, issues: [{ path: ['message'], message: expect.any(String) }] }
			}
		});
		await send(trpc, 'demo/say', { message: 'one' }, { clientEventId: 'same' });
		await expect(
			send(trpc, 'demo/say', { message: 'two' }, { clientEventId: 'same' })
		).rejects.toMatchObject({ data: { code: 'CONFLICT', realtime: { reason: 'conflict' } } });
	});
});

test('temporary failures get a code that the link retries, others do not', () => {
	const retried = [
		'INTERNAL_SERVER_ERROR',
		'BAD_GATEWAY',
		'SERVICE_UNAVAILABLE',
		'GATEWAY_TIMEOUT'
	];
	for (let status = 400; status < 600; status++) {
		// Of these, a page is told when to come back, which the link does not heed.
		const isRetried = !isFatalStatus(status) && status !== 429;
		expect([status, retried.includes(codeOf(status))]).toEqual([status, isRetried]);
		expect(() => new TRPCError({ code: codeOf(status) })).not.toThrow();
	}
});

/** Each stage in which an endpoint fails, with a request that leads there. */
const STAGES: [
	stage: string,
	code: string,
	options: Options,
	act: (trpc: Client, realtime: TestRealtime) => unknown
][] = [
	[
		'request-validation',
		'BAD_REQUEST',
		{},
		(trpc) => trpc.fetchHistory.query({ channel: '', limit: 1 })
	],
	[
		'admission',
		'INTERNAL_SERVER_ERROR',
		{ identify: () => Promise.reject(new Error('secret')) },
		(trpc) => trpc.fetchHistory.query({ channel: 'demo' })
	],
	['channel-resolution', 'BAD_REQUEST', {}, (trpc) => trpc.fetchHistory.query({ channel: 'no' })],
	[
		'topic-validation',
		'BAD_REQUEST',
		{},
		(trpc) => trpc.fetchHistory.query({ channel: 'demo', topics: ['no' as never] })
	],
	[
		'authorization',
		'FORBIDDEN',
		{ channel: { authorize: () => false } },
		(trpc) => trpc.fetchHistory.query({ channel: 'demo' })
	],
	[
		'reauthorization',
		'SERVICE_UNAVAILABLE',
		{ channel: { view: () => Promise.reject(new Error('secret')) } },
		async (trpc, realtime) => {
			await realtime.emit(demoChannel().message, { message: 'a' });
			await trpc.fetchHistory.query({ channel: 'demo' });
		}
	],
	[
		'event-validation',
		'UNPROCESSABLE_CONTENT',
		{},
		(trpc) => trpc.sendEvent.mutate({ name: 'demo/say', payload: { message: '' } })
	],
	[
		'event-authorization',
		'FORBIDDEN',
		{},
		(trpc) => trpc.sendEvent.mutate({ name: 'demo/say', payload: { message: 'a' } })
	],
	[
		'event',
		'INTERNAL_SERVER_ERROR',
		{},
		(trpc) => trpc.sendEvent.mutate({ name: 'demo/say', payload: { message: 'fail' } })
	],
	[
		'stream',
		'SERVICE_UNAVAILABLE',
		{},
		(trpc, realtime) => {
			realtime.close();
			return trpc.fetchHistory.query({ channel: 'demo' });
		}
	]
];

test.each(STAGES)('stage %s answers %s', async (stage, code, options, act) => {
	const failures: RealtimeServerFailureContext[] = [];
	const { client, realtime } = await connect({
		...options,
		onFailure: (failure) => void failures.push(failure)
	});
	const trpc = client(stage === 'event-authorization' ? 'nobody' : undefined);
	const thrown: unknown = await Promise.resolve(act(trpc, realtime)).catch(
		(error: unknown) => error
	);
	expect(thrown).toMatchObject({ data: { code } });
	expect(failures.at(-1)?.stage).toBe(stage);
	expect(JSON.stringify(thrown)).not.toContain('secret');
});

test('a page of another site reads and sends nothing', async () => {
	const { server } = await connect();
	const input = encodeURIComponent(JSON.stringify({ channel: 'demo' }));
	const response = await fetch(`${server.url}trpc/realtime.fetchHistory?input=${input}`, {
		headers: { 'sec-fetch-site': 'cross-site' }
	});
	expect(response.status).toBe(403);
});

test('a server-side caller needs no HTTP', async () => {
	const realtime = endpoint();
	closing.push(() => realtime.close());
	const { router } = serveRouter(realtime);
	const request = new Request('http://test.local/trpc', { headers: { cookie: 'a=b' } });
	const event = {
		request,
		url: new URL(request.url),
		locals: {},
		getClientAddress: () => '127.0.0.1'
	} as unknown as RequestEvent;
	const caller = router.createCaller({ event, more: 1 });
	const sent = await caller.realtime.sendEvent({
		name: 'demo/say',
		payload: { message: 'hi', count: 2 }
	});
	expect(sent.emittedEvents).toHaveLength(2);
	const { messages } = await caller.realtime.fetchHistory({ channel: 'demo' });
	expect(messages).toHaveLength(2);
});

test('the type of an endpoint that is written with `createRealtime` is the same', () => {
	const options = {
		inngest: clientAt('http://127.0.0.1:9'),
		channels: { demo: { channel: demoChannel, authorize: () => true, source: false } }
	} satisfies RealtimeEndpointOptions<{ demo: typeof demoChannel }>;
	const realtime = createRealtime(options);
	closing.push(() => realtime.close());
	const t = initTRPC.context<{ event: RequestEvent }>().create();
	expect(Object.keys(realtimeRouter(t, realtime)._def.procedures).sort()).toEqual([
		'fetchHistory',
		'sendEvent',
		'subscribe'
	]);
});
