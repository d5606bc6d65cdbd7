import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import {
	defineEvent,
	getRealtimeBusSend,
	RealtimeEventError,
	type RealtimeOutdated
} from '../../src/lib/client/index.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import { TestTransport } from '../../src/lib/testing/transport.js';
import { demo } from '../support/client/channels.js';

/** A request that is not answered yet. */
class Posted {
	readonly url: string;
	readonly init: RequestInit;
	readonly #resolve: (response: Response) => void;
	readonly #reject: (error: Error) => void;

	constructor(
		url: string,
		init: RequestInit,
		resolve: (response: Response) => void,
		reject: (error: Error) => void
	) {
		this.url = url;
		this.init = init;
		this.#resolve = resolve;
		this.#reject = reject;
		init.signal?.addEventListener('abort', () => reject(new DOMException('Aborted', 'AbortError')));
	}

	get body(): { event: string; id: string; data: unknown; v: number } {
		return JSON.parse(String(this.init.body));
	}

	async answer(result?: unknown, emitted: object[] = []): Promise<void> {
		await this.respond(200, { id: this.body.id, status: 'done', result, emitted });
	}

	async respond(
		status: number,
		body: unknown,
		headers: Record<string, string> = {}
	): Promise<void> {
		this.#resolve(Response.json(body, { status, headers }));
		await settle();
	}

	async fail(): Promise<void> {
		this.#reject(new TypeError('fetch failed'));
		await settle();
	}
}

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

let posts: Posted[];
let outdated: RealtimeOutdated[];
let bus: RealtimeBus;
let transport: TestTransport;
let network: EventTarget;

beforeEach(() => {
	vi.useFakeTimers();
	network = new EventTarget();
	posts = [];
	outdated = [];
	const active = resolveSubscriptions([{ channel: demo }]);
	bus = new RealtimeBus({
		subscriptions: () => active,
		connect: (owner) => (transport = new TestTransport(owner)),
		settings: () => ({
			endpoint: '/api/events',
			fetch: (url, init) =>
				new Promise((resolve, reject) =>
					posts.push(new Posted(String(url), init!, resolve, reject))
				),
			onOutdated: (event) => outdated.push(event)
		})
	});
	bus.update({ endpoint: '/api/events', subscriptions: active });
	vi.stubGlobal('addEventListener', network.addEventListener.bind(network));
	vi.stubGlobal('removeEventListener', network.removeEventListener.bind(network));
});

afterEach(() => {
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

const say = defineEvent('demo/say', {
	schema: z.object({ text: z.string(), at: z.date().optional() }),
	result: z.object({ said: z.string() })
});

/** How a promise ended. */
async function ending(sent: Promise<unknown>): Promise<unknown> {
	return sent.then(
		() => 'sent',
		(error: RealtimeEventError) => error.code
	);
}

test('an event is sent as JSON, and its answer is the result', async () => {
	const send = getRealtimeBusSend(say, { bus });
	const sent = send({ text: 'a', at: new Date(0) });
	expect(send.pending).toMatchObject([{ data: { text: 'a', at: '1970-01-01T00:00:00.000Z' } }]);
	await settle();
	const [post] = posts;
	expect(post!.url).toBe('/api/events');
	expect(post!.init).toMatchObject({
		method: 'POST',
		headers: { 'content-type': 'application/json' }
	});
	expect(post!.body).toMatchObject({ event: 'demo/say', v: 1, id: send.pending[0]!.id });
	await post!.answer({ said: 'a' });
	expect(await sent).toEqual({
		id: post!.body.id,
		status: 'done',
		result: { said: 'a' },
		emitted: []
	});
	expect(send.pending).toEqual([]);
	expect(send.error).toBeNull();
});

test('the same id is sent again after faults of the network, 408, 429 and 5xx', async () => {
	vi.spyOn(Math, 'random').mockReturnValue(1);
	const send = getRealtimeBusSend(say, { bus });
	const sent = send({ text: 'a' }, { id: 'mine' });
	await settle();
	const again = async (waitMs: number): Promise<void> => {
		const before = posts.length;
		await vi.advanceTimersByTimeAsync(waitMs - 1);
		expect(posts).toHaveLength(before);
		await vi.advanceTimersByTimeAsync(1);
		expect(posts).toHaveLength(before + 1);
	};
	await posts[0]!.fail();
	await again(500);
	await posts[1]!.respond(408, {});
	await again(1_000);
	await posts[2]!.respond(503, { error: 'away' });
	await again(2_000);
	await posts[3]!.respond(429, { error: 'slow down' }, { 'retry-after': '20' });
	network.dispatchEvent(new Event('online'));
	await again(20_000);
	await posts[4]!.answer({ said: 'a' });
	expect((await sent).result).toEqual({ said: 'a' });
	expect(new Set(posts.map(({ body }) => body.id))).toEqual(new Set(['mine']));
});

test('what is refused is not sent again, and says why', async () => {
	const send = getRealtimeBusSend(say, { bus });
	const cases: [number, object, string][] = [
		[400, { error: 'malformed' }, 'EVENT_REFUSED'],
		[401, { error: 'Sign in' }, 'EVENT_REFUSED'],
		[403, { error: 'Not yours' }, 'EVENT_REFUSED'],
		[409, { error: 'Used', reason: 'conflict' }, 'EVENT_REFUSED'],
		[409, { error: 'Reload', reason: 'outdated' }, 'EVENT_OUTDATED'],
		[413, { error: 'Too large' }, 'EVENT_REFUSED'],
		[422, { error: 'Invalid', issues: [] }, 'EVENT_INVALID'],
		[200, { page: 'sign in' }, 'EVENT_REFUSED']
	];
	for (const [status, body, code] of cases) {
		const sent = send({ text: 'a' });
		await settle();
		await posts.at(-1)!.respond(status, body);
		const error = (await sent.catch((error: unknown) => error)) as RealtimeEventError;
		expect(error).toBeInstanceOf(RealtimeEventError);
		expect(error).toMatchObject({ code, status, eventId: posts.at(-1)!.body.id });
		if ('error' in body) expect(error.message).toBe(body.error);
		expect(send.error).toBe(error);
		expect(send.pending).toEqual([]);
	}
	await vi.advanceTimersByTimeAsync(60_000);
	expect(posts).toHaveLength(cases.length);
	expect(outdated).toEqual([{ event: 'demo/say', version: 1 }]);
	void send({ text: 'b' });
	expect(send.error).toBeNull();
});

test('issues are told by field', async () => {
	const send = getRealtimeBusSend(say, { bus });
	void send({ text: '' });
	await settle();
	const issues = [
		{ message: 'Too short', path: ['text'] },
		{ message: 'Too dull', path: ['text', 0] },
		{ message: 'As a whole', path: [] }
	];
	await posts[0]!.respond(422, { error: 'Invalid', issues });
	expect(send.error!.fields).toEqual({ text: ['Too short', 'Too dull'] });
	expect(send.error!.issues).toEqual(issues);
});

test('a failing handler is tried three times', async () => {
	const send = getRealtimeBusSend(say, { bus });
	const sent = ending(send({ text: 'a' }));
	await settle();
	for (let n = 0; n < 3; n++) {
		await posts[n]!.respond(500, { error: 'broken' });
		await vi.advanceTimersByTimeAsync(30_000);
	}
	expect(await sent).toBe('EVENT_FAILED');
	expect(posts).toHaveLength(3);
});

test('events of a channel go one after another, others meanwhile', async () => {
	const inRoom = defineEvent('room/say', {
		schema: z.object({ room: z.string(), text: z.string() }),
		channel: ({ room }) => `room:${room}`
	});
	const leave = defineEvent('room/leave', { schema: z.object({}), channel: { name: 'room:1' } });
	const send = getRealtimeBusSend(inRoom, { bus });
	const sendLeave = getRealtimeBusSend(leave, { bus });
	void send({ room: '1', text: 'a' });
	void send({ room: '1', text: 'b' });
	void sendLeave({});
	void send({ room: '2', text: 'c' });
	await settle();
	const texts = (): unknown[] => posts.map(({ body }) => (body.data as { text?: string }).text);
	expect(texts()).toEqual(['a', 'c']);
	// The first is refused; the next goes on.
	await posts[0]!.respond(403, {});
	expect(texts()).toEqual(['a', 'c', 'b']);
	await posts[2]!.answer();
	expect(texts()).toEqual(['a', 'c', 'b', undefined]);
});

test('sent offline, events wait and go out in order when the network is back', async () => {
	vi.stubGlobal('navigator', { onLine: false });
	const send = getRealtimeBusSend(say, { bus });
	const sent = ['a', 'b', 'c'].map((text) => send({ text }));
	await vi.advanceTimersByTimeAsync(5_000);
	expect(posts).toEqual([]);
	expect(send.pending).toHaveLength(3);
	vi.stubGlobal('navigator', { onLine: true });
	network.dispatchEvent(new Event('online'));
	for (let n = 0; n < 3; n++) {
		await settle();
		await posts[n]!.answer({ said: String(n) });
	}
	const results = (await Promise.all(sent)).map(({ result }) => result.said);
	expect(results).toEqual(['0', '1', '2']);
	expect(posts.map(({ body }) => body.data)).toEqual([{ text: 'a' }, { text: 'b' }, { text: 'c' }]);
});

test('a request that was open when the network changed is sent again at once', async () => {
	const send = getRealtimeBusSend(say, { bus });
	void send({ text: 'a' }, { id: 'x' });
	await settle();
	network.dispatchEvent(new Event('online'));
	await vi.advanceTimersByTimeAsync(500);
	expect(posts.map(({ body }) => body.id)).toEqual(['x', 'x']);
});

test('a request that nobody answers is sent again', async () => {
	const send = getRealtimeBusSend(say, { bus });
	void send({ text: 'a' }, { id: 'x' });
	await vi.advanceTimersByTimeAsync(31_000);
	expect(posts.map(({ body }) => body.id)).toEqual(['x', 'x']);
	expect(posts[0]!.init.signal!.aborted).toBe(true);
});

test('of too many that wait the last is refused; what waits too long, too', async () => {
	const send = getRealtimeBusSend(say, { bus, maxPending: 2, maxAgeMs: 10_000 });
	const patient = getRealtimeBusSend(say, { bus });
	const first = ending(patient({ text: 'a' }));
	const second = ending(send({ text: 'b' }));
	expect(await ending(send({ text: 'c' }))).toBe('EVENT_QUEUE_FULL');
	expect(send.error!.message).toContain('2 events');
	expect(send.pending).toHaveLength(2);
	await vi.advanceTimersByTimeAsync(10_000);
	expect(await second).toBe('EVENT_EXPIRED');
	expect(posts).toHaveLength(1);
	expect(send.pending).toMatchObject([{ data: { text: 'a' } }]);
	await vi.advanceTimersByTimeAsync(290_000);
	expect(await first).toBe('EVENT_EXPIRED');
	expect(posts.at(-1)!.init.signal!.aborted).toBe(true);
	expect(new Set(posts.map(({ body }) => body.id)).size).toBe(1);
	expect(send.pending).toEqual([]);
	const third = ending(send({ text: 'd' }));
	await settle();
	await posts.at(-1)!.answer();
	expect(await third).toBe('sent');
});

test('an event is pending until its echo is here, whichever comes first', async () => {
	const send = getRealtimeBusSend(say, { bus });
	const echo = (id: string): void =>
		transport.message({
			channel: 'demo',
			topic: 'count',
			data: 1,
			kind: 'data',
			createdAt: '',
			clientEventId: id
		});
	const emitted = [{ channel: 'demo', topic: 'count', cursor: 'x-1' }];

	const one = send({ text: 'a' }, { id: 'one' });
	await settle();
	echo('another');
	expect(send.pending).toHaveLength(1);
	echo('one');
	expect(send.pending).toEqual([]);
	await posts[0]!.answer({ said: '' }, emitted);
	await one;

	const two = send({ text: 'a' }, { id: 'two' });
	await settle();
	await posts[1]!.answer({ said: '' }, emitted);
	await two;
	expect(send.pending).toHaveLength(1);
	echo('two');
	expect(send.pending).toEqual([]);

	const three = send({ text: 'a' });
	await settle();
	await posts[2]!.answer({ said: '' }, emitted);
	await three;
	await vi.advanceTimersByTimeAsync(5_000);
	expect(send.pending).toEqual([]);
});

test('what JSON cannot express is refused', async () => {
	const any = defineEvent('any', { schema: z.any() });
	expect(await ending(getRealtimeBusSend(any, { bus })({ n: 1n }))).toBe('EVENT_INVALID');
});

test('events go out after the manager has gone', async () => {
	const send = getRealtimeBusSend(say, { bus });
	const sent = send({ text: 'a' });
	await settle();
	bus.close();
	await posts[0]!.fail();
	await vi.advanceTimersByTimeAsync(500);
	await posts[1]!.answer({ said: 'a' });
	expect((await sent).result).toEqual({ said: 'a' });
});

test('an id that is sent twice is listed once, and both are answered', async () => {
	const send = getRealtimeBusSend(say, { bus });
	const both = [send({ text: 'a' }, { id: 'x' }), send({ text: 'a' }, { id: 'x' })];
	expect(send.pending.map(({ id }) => id)).toEqual(['x']);
	await settle();
	await posts[0]!.answer({ said: 'a' });
	await posts[1]!.answer({ said: 'a' });
	for (const { result } of await Promise.all(both)) expect(result).toEqual({ said: 'a' });
	expect(send.pending).toEqual([]);
});

test('every fault that may pass is tried again, with the same id and body', async () => {
	const send = getRealtimeBusSend(say, { bus });
	const statuses = [500, 501, 502, 503, 504, 408, 429];
	for (const status of statuses) {
		const sent = send({ text: 'a' });
		await settle();
		const first = posts.at(-1)!;
		await first.respond(status, { error: 'later' });
		await vi.advanceTimersByTimeAsync(30_000);
		const second = posts.at(-1)!;
		expect(second, String(status)).not.toBe(first);
		expect(second.init.body, String(status)).toBe(first.init.body);
		await second.answer({ said: 'a' });
		expect((await sent).status).toBe('done');
	}
	expect(posts).toHaveLength(2 * statuses.length);
});
