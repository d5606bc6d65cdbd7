import { channel, topic } from '@inngest/realtime';
import { error } from '@sveltejs/kit';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { compareCursors } from '../../src/lib/protocol/cursor.js';
import {
	RealtimeDenied,
	type RealtimeAuthorizeContext,
	type RealtimeReauthorizeContext,
	type RealtimeServerFailureContext
} from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import type { SseReader } from '../support/sse.js';
import { deferred, eventually, type Deferred } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

type Authorize = (context: RealtimeAuthorizeContext) => unknown;
type Reauthorize = (context: RealtimeReauthorizeContext) => unknown;

async function start(config: { authorize?: Authorize; reauthorize?: Reauthorize }): Promise<void> {
	const { authorize = () => true, reauthorize } = config;
	const demo = {
		channel: demoChannel,
		authorize: authorize as () => boolean,
		...(reauthorize && { reauthorize: reauthorize as () => boolean })
	};
	world = await startWorld({ channels: { demo }, onFailure, reauthorizeOnEachMessage: true });
}

async function connect(body: object = {}): Promise<SseReader> {
	const stream = await world.open({ channel: 'demo', ...body });
	await stream.connected();
	return stream;
}

const say = (message: string, on = 'message'): Promise<void> =>
	world.publish('demo', on, { message });

/** The stream has ended for the denial of `stage`, after exactly `texts`. */
async function expectDenied(stream: SseReader, texts: string[], detail?: string): Promise<void> {
	await stream.end();
	expect(stream.texts).toEqual(texts);
	expect(stream.frames.at(-1)).toMatchObject({
		event: 'health',
		data: {
			status: 'degraded',
			ok: false,
			stage: 'reauthorization',
			code: 403,
			fatal: true,
			detail: detail ?? 'The right to read this realtime channel was revoked.'
		}
	});
	expect(world.realtime.stats().streams).toBe(0);
}

/** The stream has ended because a check failed, after exactly `texts`; the page may come back. */
async function expectUnchecked(stream: SseReader, texts: string[]): Promise<void> {
	await stream.end();
	expect(stream.texts).toEqual(texts);
	expect(stream.frames.at(-1)).toMatchObject({
		event: 'health',
		data: {
			status: 'degraded',
			stage: 'reauthorization',
			code: 503,
			fatal: false,
			detail:
				'The right to read this realtime channel could not be checked; it will be tried again.'
		}
	});
}

const thrownBy = (call: () => unknown): unknown => {
	try {
		return call();
	} catch (thrown) {
		return thrown;
	}
};

test('exactly true lets a message pass, with the message and its topic in the context', async () => {
	const seen: RealtimeReauthorizeContext[] = [];
	await start({
		authorize: () => ({ allowedTopics: ['message'] }),
		reauthorize: (context) => seen.push(context) > 0
	});
	const stream = await connect({ params: { as: 'x' } });
	await say('hidden', 'admin-message');
	await say('hello');
	await stream.when(() => stream.texts.length === 1);
	expect(stream.texts).toEqual(['hello']);
	expect(seen).toHaveLength(1);
	expect(seen[0]).toMatchObject({
		channelId: 'demo',
		topics: ['message'],
		params: { as: 'x' },
		messageTopic: 'message',
		message: { channel: 'demo', topic: 'message', kind: 'data', data: { message: 'hello' } }
	});
	expect(seen[0]!.event.request).toBe(seen[0]!.request);
});

test.each([
	['false', () => false],
	['a truthy value', () => 1],
	['{ allowedTopics }', () => ({ allowedTopics: ['message'] })],
	['nothing', () => undefined],
	['a promise of false', () => Promise.resolve(false)],
	['a promise of a truthy value', () => Promise.resolve('true')]
])('reauthorize that gives %s ends the stream before the message', async (_, reauthorize) => {
	let deny = false;
	await start({ reauthorize: () => (deny ? reauthorize() : true) });
	const stream = await connect();
	await say('1');
	await stream.when(() => stream.texts.length === 1);
	deny = true;
	await say('2');
	await say('3');
	await expectDenied(stream, ['1']);
	expect(failures).toMatchObject([{ stage: 'reauthorization', status: 403, channelId: 'demo' }]);
	expect(failures[0]!.event?.url.pathname).toBe('/');
});

const throwing = (thrown: () => unknown) => () => {
	throw thrown();
};

test.each([
	['RealtimeDenied', throwing(() => new RealtimeDenied('Signed out'))],
	['error(403)', throwing(() => thrownBy(() => error(403, 'Signed out')))],
	['a rejection with RealtimeDenied', () => Promise.reject(new RealtimeDenied('Signed out'))],
	[
		'RealtimeDenied of another copy of the package',
		throwing(() => Object.assign(new Error('Signed out'), { name: 'RealtimeDenied' }))
	]
])('%s denies a message, and the browser is told its text', async (_, reauthorize) => {
	await start({ reauthorize });
	const stream = await connect();
	await say('1');
	await expectDenied(stream, [], 'Signed out');
	expect(failures).toMatchObject([{ message: 'Signed out', callback: 'reauthorize' }]);
});

test('a denial without a text gets one', async () => {
	await start({ reauthorize: throwing(() => new RealtimeDenied()) });
	const stream = await connect();
	await say('1');
	await expectDenied(stream, []);
});

const faults: [string, unknown][] = [
	['an error of a driver', new Error('connect ECONNREFUSED 10.0.0.5:5432')],
	['an error of an HTTP client', Object.assign(new Error('401 from auth'), { status: 401 })],
	['a text', 'the database is down'],
	['nothing', undefined]
];

test.each(faults)(
	'%s is a fault, not a denial: no message, and no text of its own',
	async (_, thrown) => {
		await start({ reauthorize: () => Promise.reject(thrown) });
		const stream = await connect();
		await say('1');
		await expectUnchecked(stream, []);
		expect(failures).toMatchObject([
			{
				stage: 'reauthorization',
				status: 503,
				callback: 'reauthorize',
				...(thrown !== undefined && { error: thrown })
			}
		]);
	}
);

test.each(faults)(
	'%s thrown by the interval check is a fault, and the page may come back',
	async (_, thrown) => {
		let isDown = false;
		world = await startWorld({
			channels: {
				demo: {
					channel: demoChannel,
					authorize: () => {
						if (isDown) throw thrown;
						return true;
					}
				}
			},
			onFailure,
			recheckIntervalMs: 50
		});
		const stream = await connect();
		isDown = true;
		await expectUnchecked(stream, []);
		expect(failures).toMatchObject([{ callback: 'authorize', status: 503 }]);
		expect(failures[0]!.error).toBe(thrown);
		isDown = false;
		await connect({ lastEventId: stream.lastId });
	}
);

test('without reauthorize authorize is asked again, for the topic of the message', async () => {
	const asked: string[][] = [];
	await start({ authorize: ({ topics }) => asked.push(topics) > 0 });
	const stream = await connect();
	await say('1');
	await say('2', 'admin-message');
	await stream.when(() => stream.texts.length === 2);
	expect(asked).toEqual([['admin-message', 'message'], ['message'], ['admin-message']]);
});

test.each([
	['false', false, false],
	['true', true, true],
	['{ allowedTopics } with the topic', { allowedTopics: ['message'] }, true],
	['{ allowedTopics } without it', { allowedTopics: ['admin-message'] }, false],
	['no topics', { allowedTopics: [] }, false],
	['an odd value', 'yes', false]
])('authorize that gives %s on a re-check: allowed is %s', async (_, result, isAllowed) => {
	let isRecheck = false;
	await start({ authorize: () => (isRecheck ? result : true) });
	const stream = await connect();
	isRecheck = true;
	await say('1');
	if (!isAllowed) return expectDenied(stream, []);
	await stream.when(() => stream.texts.length === 1);
});

test('asynchronous checks keep the order, whichever answers first', async () => {
	const answers: Deferred<boolean>[] = [];
	await start({
		reauthorize: () => {
			const answer = deferred<boolean>();
			answers.push(answer);
			return answer.promise;
		}
	});
	const stream = await connect();
	for (const text of ['1', '2', '3']) await say(text);
	for (let n = 0; n < 3; n++) {
		await eventually(() => answers.length === n + 1);
		expect(stream.texts).toHaveLength(n);
		answers[n]!.resolve(true);
		await stream.when(() => stream.texts.length === n + 1);
	}
	expect(stream.texts).toEqual(['1', '2', '3']);
});

test('nothing that waits behind a denied message is sent or even asked for', async () => {
	const answers: Deferred<boolean>[] = [];
	await start({
		reauthorize: () => {
			const answer = deferred<boolean>();
			answers.push(answer);
			return answer.promise;
		}
	});
	const stream = await connect();
	for (const text of ['1', '2', '3']) await say(text);
	await eventually(() => answers.length === 1);
	answers[0]!.resolve(false);
	await expectDenied(stream, []);
	expect(answers).toHaveLength(1);
});

test('a cursor said while messages wait for their check is not ahead of them', async () => {
	const answers: Deferred<boolean>[] = [];
	await start({
		reauthorize: () => {
			const answer = deferred<boolean>();
			answers.push(answer);
			return answer.promise;
		}
	});
	const stream = await connect();
	await say('1');
	await eventually(() => answers.length === 1);
	world.engine.dropSockets();
	await eventually(() => world.realtime.stats().hub.sources.inngest!.sockets === 0);
	await eventually(() => world.realtime.stats().hub.sources.inngest!.state === 'open');
	const witness = await connect();
	await say('2');
	await eventually(() => answers.length === 2);
	answers[0]!.resolve(true);
	await eventually(() => answers.length === 3);
	answers[1]!.resolve(true);
	answers[2]!.resolve(true);
	await stream.when(() => stream.texts.length === 2);
	await witness.when(() => witness.texts.length === 1);
	expect(witness.texts).toEqual(['2']);
	const story = stream.frames
		.slice(2)
		.map(({ event, data }) => (event === 'health' ? data.status : event));
	expect(story).toEqual(['message', 'connecting', 'resync', 'connected', 'message']);
	const second = stream.frames.at(-1)!.id!;
	const said = stream.health().at(-1)!.cursor!;
	expect(compareCursors(said, second)).toBeLessThan(0);
});

test('a health tick while a message waits for its check says no cursor', async () => {
	const answers: Deferred<boolean>[] = [];
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => true,
				reauthorize: () => {
					const answer = deferred<boolean>();
					answers.push(answer);
					return answer.promise;
				}
			}
		},
		reauthorizeOnEachMessage: true,
		healthCheck: { intervalMs: 60 }
	});
	const stream = await connect();
	await say('1');
	await eventually(() => answers.length === 1);
	const frames = stream.frames.length;
	const comments = stream.comments.length;
	await stream.when(() => stream.comments.length >= comments + 3);
	expect(stream.frames).toHaveLength(frames);
	// A page that leaves now comes back with the cursor that was said before the message.
	const again = await world.open({ channel: 'demo', lastEventId: stream.lastId });
	await eventually(() => answers.length === 2);
	answers[1]!.resolve(true);
	await again.when(() => again.texts.length === 1);
	answers[0]!.resolve(true);
	await stream.when(() => stream.texts.length === 1);
	await stream.when(() => stream.frames.at(-1)!.event === 'health');
});

const otherChannel = channel('other').addTopic(
	topic('message').schema(z.object({ message: z.string() }))
);

test('a check that passes late sends nothing on a channel that was denied meanwhile', async () => {
	const late = deferred<boolean>();
	let isAllowed = true;
	let isAsked = false;
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => isAllowed,
				reauthorize: () => {
					isAsked = true;
					return late.promise;
				},
				reauthorizeOnEachMessage: true
			},
			other: { channel: otherChannel, authorize: () => true }
		},
		recheckIntervalMs: 50
	});
	const stream = await world.open({ subscriptions: [{ channel: 'demo' }, { channel: 'other' }] });
	await stream.connected('demo');
	await stream.connected('other');
	await say('secret');
	await eventually(() => isAsked);
	isAllowed = false;
	await stream.when(() => stream.health('demo').at(-1)?.status === 'degraded');
	late.resolve(true);
	await world.publish('other', 'message', { message: 'after' });
	await stream.when(() => stream.texts.length === 1);
	expect(stream.texts).toEqual(['after']);
});

test.each([
	['by the check itself', (answer: Deferred<boolean>) => answer.resolve(false)],
	['while its check is still running', undefined]
])('bytes that a channel held when it was denied, %s, are given back', async (_, deny) => {
	const answers: Record<string, Deferred<boolean>[]> = { demo: [], other: [] };
	let isAllowed = true;
	const reauthorize = ({ channelId }: RealtimeReauthorizeContext): Promise<boolean> => {
		const answer = deferred<boolean>();
		answers[channelId]!.push(answer);
		return answer.promise;
	};
	const text = 'x'.repeat(6_000);
	world = await startWorld({
		channels: {
			demo: { channel: demoChannel, authorize: () => isAllowed, reauthorize: reauthorize as never },
			other: { channel: otherChannel, authorize: () => true, reauthorize: reauthorize as never }
		},
		reauthorizeOnEachMessage: true,
		recheckIntervalMs: 50,
		limits: { maxBufferedBytes: 20_000 }
	});
	const stream = await world.open({ subscriptions: [{ channel: 'demo' }, { channel: 'other' }] });
	await stream.connected('demo');
	await stream.connected('other');
	// Two messages wait in one channel, then three in the other: together they are too much.
	await say(text);
	await say(text);
	await eventually(() => world.realtime.stats().hub.messages === 2 && answers.demo!.length === 1);
	if (deny) deny(answers.demo![0]!);
	else isAllowed = false;
	await stream.when(() => stream.health('demo').at(-1)?.status === 'degraded');
	for (let n = 0; n < 3; n++) await world.publish('other', 'message', { message: text });
	for (let n = 0; n < 3; n++) {
		await eventually(() => answers.other!.length === n + 1);
		if (n === 0) await eventually(() => world.realtime.stats().hub.messages === 5);
		answers.other![n]!.resolve(true);
	}
	await stream.when(() => stream.texts.length === 3);
	expect(world.realtime.stats().slowReaders).toBe(0);
});

test('one reader that is denied ends no other', async () => {
	await start({ reauthorize: ({ params }) => params.deny !== true });
	const denied = await connect({ params: { deny: true } });
	const allowed = await connect();
	await say('1');
	await say('2');
	await denied.end();
	expect(denied.texts).toEqual([]);
	await allowed.when(() => allowed.texts.length === 2);
	expect(world.realtime.stats().streams).toBe(1);
});

test('a denied channel ends alone, where a stream carries several', async () => {
	const other = channel('other').addTopic(
		topic('message').schema(z.object({ message: z.string() }))
	);
	world = await startWorld({
		channels: {
			demo: { channel: demoChannel, authorize: () => true, reauthorize: () => false },
			other: { channel: other, authorize: () => true }
		},
		onFailure,
		reauthorizeOnEachMessage: true
	});
	const stream = await world.open({ subscriptions: [{ channel: 'demo' }, { channel: 'other' }] });
	await stream.connected('demo');
	await stream.connected('other');
	await say('never');
	await stream.when(() => stream.health('demo').at(-1)?.status === 'degraded');
	await world.publish('other', 'message', { message: 'still here' });
	await stream.when(() => stream.texts.length === 1);
	expect(stream.texts).toEqual(['still here']);
	expect(stream.ended).toBe(false);
});

test('a channel may switch per-message checks on or off for itself', async () => {
	const reauthorize = vi.fn(() => false);
	const other = channel('other').addTopic(
		topic('message').schema(z.object({ message: z.string() }))
	);
	world = await startWorld({
		channels: {
			demo: { channel: demoChannel, authorize: () => true, reauthorize },
			other: {
				channel: other,
				authorize: () => true,
				reauthorize,
				reauthorizeOnEachMessage: true
			}
		},
		onFailure
	});
	const stream = await world.open({ subscriptions: [{ channel: 'demo' }, { channel: 'other' }] });
	await stream.connected('demo');
	await stream.connected('other');
	await say('unchecked');
	await stream.when(() => stream.texts.length === 1);
	expect(reauthorize).not.toHaveBeenCalled();
	await world.publish('other', 'message', { message: 'checked' });
	await stream.when(() => stream.health('other').at(-1)?.status === 'degraded');
	expect(reauthorize).toHaveBeenCalledTimes(1);
});

test('reauthorize sees the message as the browser gets it: a Date is a text, live and replayed', async () => {
	const dated = channel('dated').addTopic(
		topic('at').schema(z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }))
	);
	const shown: unknown[] = [];
	world = await startWorld({
		channels: {
			dated: {
				channel: dated,
				authorize: () => true,
				reauthorize: ({ message }) => {
					shown.push(message.data);
					return true;
				},
				reauthorizeOnEachMessage: true
			}
		}
	});
	const stream = await world.open({ channel: 'dated' });
	await stream.connected();
	const lastEventId = stream.lastId!;
	await world.publish('dated', 'at', { at: '2026-01-02T03:04:05Z' });
	await stream.when(() => stream.messages.length === 1);
	const again = await world.open({ channel: 'dated', lastEventId });
	await again.connected();
	const data = { at: '2026-01-02T03:04:05.000Z' };
	expect(stream.messages[0]!.data).toEqual(data);
	expect(again.messages[0]!.data).toEqual(data);
	expect(shown).toEqual([data, data]);
});

test('rights are checked on a timer too, so that a revoked reader is cut off in silence', async () => {
	let revoked = false;
	const asked: string[][] = [];
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: ({ topics }) => {
					asked.push(topics);
					if (revoked) throw new RealtimeDenied('Your subscription has ended');
					return topics.length === 2 ? { allowedTopics: ['message'] } : true;
				}
			}
		},
		onFailure,
		recheckIntervalMs: 60
	});
	const stream = await connect();
	await eventually(() => asked.length > 2);
	expect(stream.ended).toBe(false);
	revoked = true;
	await expectDenied(stream, [], 'Your subscription has ended');
	// Only what was allowed is asked for again.
	expect(asked.slice(0, 3)).toEqual([['admin-message', 'message'], ['message'], ['message']]);
	expect(failures).toMatchObject([{ stage: 'reauthorization', status: 403 }]);
});

test.each([
	['false', () => false],
	['{ allowedTopics } with one of two topics', () => ({ allowedTopics: ['message'] })]
])('an interval check that gives %s ends a channel of two topics', async (_, answer) => {
	let isRecheck = false;
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: (() => (isRecheck ? answer() : true)) as () => boolean
			}
		},
		onFailure,
		recheckIntervalMs: 50
	});
	const stream = await connect();
	isRecheck = true;
	await expectDenied(stream, []);
});

test('a check on the timer that takes its time is not asked again meanwhile', async () => {
	const answer = deferred<boolean>();
	let asked = 0;
	world = await startWorld({
		channels: {
			demo: { channel: demoChannel, authorize: () => (++asked === 2 ? answer.promise : true) }
		},
		healthCheck: { intervalMs: 50 },
		recheckIntervalMs: 50
	});
	const stream = await connect();
	await eventually(() => asked === 2);
	const ticks = stream.health().length;
	await stream.when(() => stream.health().length >= ticks + 5);
	expect(asked).toBe(2);
	answer.resolve(true);
	await eventually(() => asked > 3);
});

test('a check that fails for a reason of its own lets the page come back', async () => {
	let isDown = false;
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => {
					if (isDown) error(503, 'Sessions are away');
					return true;
				}
			}
		},
		recheckIntervalMs: 50
	});
	const stream = await connect();
	isDown = true;
	await stream.end();
	expect(stream.health().at(-1)).toMatchObject({
		status: 'degraded',
		stage: 'reauthorization',
		code: 503,
		fatal: false,
		detail: 'Sessions are away'
	});
});
