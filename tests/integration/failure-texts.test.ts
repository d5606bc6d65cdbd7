import { channel, topic, typeOnlyChannel } from '@inngest/realtime';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { RealtimeDenied, type RealtimeServerFailureContext } from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const log = vi.spyOn(console, 'error').mockImplementation(() => {});
beforeEach(() => void log.mockClear());

const denied = { demo: { channel: demoChannel, authorize: () => false } };

/** Allows a stream, then denies its first message with a cause that is nobody's business. */
const revoking = {
	demo: {
		channel: demoChannel,
		authorize: () => true,
		reauthorize: () => {
			throw new RealtimeDenied('Your session ended', { cause: 'secret cause' });
		},
		reauthorizeOnEachMessage: true
	}
};

async function degraded(): Promise<{ detail?: string; stage?: string }> {
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	await world.publish('demo', 'message', { message: 'never sent' });
	await stream.end();
	expect(stream.messages).toEqual([]);
	return stream.health().at(-1)!;
}

test('onFailure may replace the text of a refusal, and gets the event', async () => {
	const seen: RealtimeServerFailureContext[] = [];
	world = await startWorld({
		channels: denied,
		onFailure: (failure) => {
			seen.push(failure);
			return { message: `No: ${failure.message}` };
		}
	});
	const { status, body } = await world.post({ channel: 'demo' });
	expect(status).toBe(403);
	expect(body).toEqual({ error: 'No: Not allowed to read this realtime channel.' });
	expect(seen[0]!.event?.url.pathname).toBe('/');
});

test('onFailure may replace the text of a failing stream, as health.detail', async () => {
	world = await startWorld({
		channels: revoking,
		onFailure: ({ stage, message }) => ({ message: `${stage}: ${message}` })
	});
	expect(await degraded()).toMatchObject({
		status: 'degraded',
		stage: 'reauthorization',
		code: 403,
		detail: 'reauthorization: Your session ended',
		fatal: true
	});
});

test('onFailure may replace the text of one channel of several', async () => {
	world = await startWorld({ channels: denied, onFailure: () => ({ message: 'Ask an admin' }) });
	const stream = await world.open({ subscriptions: [{ channel: 'demo' }] });
	await stream.end();
	expect(stream.health('demo')).toMatchObject([{ detail: 'Ask an admin', code: 403 }]);
});

test.each([
	['nothing', () => undefined],
	['null', () => null],
	['a text', () => 'a text'],
	['a message that is no text', () => ({ message: 5 })],
	[
		'a promise',
		async () => {
			await Promise.resolve();
			throw new Error('the log service is down');
		}
	],
	[
		'an error',
		() => {
			throw new Error('the log service is down');
		}
	]
])('onFailure that gives %s breaks nothing and changes no text', async (_, onFailure) => {
	world = await startWorld({ channels: denied, onFailure: onFailure as () => void });
	expect(await world.post({ channel: 'demo' })).toMatchObject({
		status: 403,
		body: { error: 'Not allowed to read this realtime channel.' }
	});
	await world.close();
	world = await startWorld({ channels: revoking, onFailure: onFailure as () => void });
	expect(await degraded()).toMatchObject({ detail: 'Your session ended' });
	expect(JSON.stringify(log.mock.calls.map((call) => String(call[1])))).not.toContain('secret');
});

test('onFailure that changes what it is given changes no answer', async () => {
	world = await startWorld({
		channels: denied,
		onFailure: (failure) => {
			failure.message = 'changed';
			failure.status = 200;
		}
	});
	expect(await world.post({ channel: 'demo' })).toMatchObject({
		status: 403,
		body: { error: 'Not allowed to read this realtime channel.' }
	});
});

test('an upstream that fails at first: a fixed text for the browser, the cause for onFailure', async () => {
	const seen: RealtimeServerFailureContext[] = [];
	world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		onFailure: (failure) => void seen.push(failure)
	});
	world.engine.failTokens(401);
	const stream = await world.open({ channel: 'demo' });
	await stream.end();
	expect(stream.health()).toMatchObject([
		{ status: 'connecting', ok: false },
		{
			status: 'degraded',
			ok: false,
			stage: 'stream',
			code: 503,
			detail: 'Realtime is not available right now; it will be tried again.'
		}
	]);
	expect(stream.health().at(-1)).not.toHaveProperty('fatal', true);
	expect(seen).toMatchObject([
		{
			stage: 'stream',
			channelId: 'demo',
			error: { code: 'TOKEN', message: expect.stringContaining('401') as string }
		}
	]);
	expect(seen[0]).not.toHaveProperty('event');
	expect(world.realtime.stats()).toMatchObject({ streams: 0, hub: { feeds: 0 } });
	world.engine.failTokens(null);
	const again = await world.open({ channel: 'demo' });
	await again.connected();
});

const NASTY = 'a\u001b[31m\n[fake]\u009b\u202e';
const SAFE = 'a\\u001b[31m\\n[fake]\\u009b\\u202e';
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u202e]/;

test('names with control characters reach neither the log nor `onFailure` unescaped', async () => {
	const open = typeOnlyChannel('open');
	const user = {
		channel: userChannel,
		channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
		authorize: (): boolean => {
			throw new Error('boom');
		}
	};
	const channels = { user, open: { channel: open, authorize: () => true } };
	world = await startWorld({ channels });
	await world.post({ channel: `user:${NASTY}` });
	expect(log).toHaveBeenCalledTimes(1);
	const line = String(log.mock.calls[0]![0]);
	expect(line).toContain(`authorization failed on "user:${SAFE}"`);
	expect(line).not.toMatch(CONTROLS);
	await world.close();

	const messages: string[] = [];
	const schema = z.object({ text: z.string() });
	const named = channel((name: string) => name).addTopic(topic(NASTY).schema(schema));
	world = await startWorld({
		channels: {
			...channels,
			user: { ...user, authorize: () => true },
			named: {
				channel: named,
				channelParams: (_event: unknown, id: string) => (id.startsWith('n') ? id : ''),
				authorize: () => true
			}
		},
		onFailure: ({ message }) => void messages.push(message)
	});
	const stream = await world.open({ channel: `n${NASTY}` });
	await stream.connected();
	await world.publish(`n${NASTY}`, NASTY, 'invalid');
	await eventually(() => messages.length === 1);
	await world.post({ channel: 'user:x', topics: [NASTY] });
	await world.post({ channel: `user:${NASTY}`, since: 'x', history: 1 });
	const topics = Array.from({ length: 201 }, (_, n) => `t${n}`);
	await world.post({ channel: `user:${NASTY}`, topics });
	expect(messages).toHaveLength(4);
	for (const message of messages) {
		expect(message).toContain('a\\u001b[31m');
		expect(message).not.toMatch(CONTROLS);
	}
});

test('without onFailure a failure with a cause is logged, a plain refusal is not', async () => {
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: ({ params }) => {
					if (params.crash) throw new Error('boom');
					return false;
				}
			}
		}
	});
	await world.post({ channel: 'demo' });
	expect(log).not.toHaveBeenCalled();
	await world.post({ channel: 'demo', params: { crash: true } });
	expect(log).toHaveBeenCalledTimes(1);
	expect(String(log.mock.calls[0]![0])).toContain('authorization failed on "demo"');
});
