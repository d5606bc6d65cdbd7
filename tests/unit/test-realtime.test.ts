import { afterEach, expect, expectTypeOf, test } from 'vitest';
import { RealtimeError } from '../../src/lib/server/index.js';
import { createTestRealtime, type TestRealtime } from '../../src/lib/testing/createTestRealtime.js';
import { demoChannel } from '../support/channels.js';

let realtime: TestRealtime;
afterEach(() => realtime.close());

const channels = { demo: { channel: demoChannel, authorize: () => true } };

/** Opens a stream. @returns the texts that came, and how it ended. */
function read(body: unknown, init: RequestInit = {}): { text(): string; ended: Promise<unknown> } {
	let text = '';
	const ended = (async () => {
		const response = await realtime.fetch('/api/events', {
			method: 'POST',
			body: JSON.stringify(body),
			...init
		});
		for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) text += chunk;
	})().then(
		() => 'finished',
		(error: unknown) => error
	);
	return { text: () => text, ended };
}

const until = (condition: () => boolean): Promise<void> =>
	expect.poll(condition, { interval: 5 }).toBe(true) as unknown as Promise<void>;

test('what is emitted or published reaches streams at once, without Inngest', async () => {
	realtime = createTestRealtime({ channels });
	const stream = read({ channel: 'demo' });
	await until(() => stream.text().includes('"connected"'));
	await realtime.emit(demoChannel().message, { message: 'emitted' });
	await realtime.publish(demoChannel().message, { message: 'published' });
	await until(() => stream.text().includes('published'));
	expect(stream.text()).toContain('emitted');
	expectTypeOf(realtime.emit).toBeFunction();
	await expect(
		// @ts-expect-error The schema wants a text.
		realtime.emit(demoChannel().message, { message: 1 })
	).rejects.toBeInstanceOf(RealtimeError);
});

test('a source that is lost and restored is told as in production', async () => {
	realtime = createTestRealtime({ channels });
	const stream = read({ channel: 'demo' });
	await until(() => stream.text().includes('"connected"'));
	realtime.lose();
	await until(() => stream.text().split('"connecting"').length === 3);
	await realtime.publish(demoChannel().message, { message: 'gone' });
	realtime.restore();
	await until(() => stream.text().includes('event: resync'));
	await until(() => stream.text().split('"connected"').length === 3);
	expect(stream.text()).not.toContain('gone');
});

test('streams break as by a network, and end by their signal', async () => {
	realtime = createTestRealtime({ channels });
	const abort = new AbortController();
	const [cut, aborted] = [
		read({ channel: 'demo' }),
		read({ channel: 'demo' }, { signal: abort.signal })
	];
	await until(() => realtime.stats().streams === 2);
	abort.abort();
	await until(() => realtime.stats().streams === 1);
	expect(await aborted.ended).toMatchObject({ name: 'AbortError' });
	realtime.cut();
	expect(await cut.ended).toBeInstanceOf(TypeError);
	await until(() => realtime.stats().streams === 0);
});

test('callbacks see the locals that the test gives', async () => {
	let name = 'alice';
	realtime = createTestRealtime({
		locals: () => ({ name }) as unknown as App.Locals,
		channels: {
			demo: {
				channel: demoChannel,
				authorize: ({ locals }) => (locals as unknown as { name: string }).name === 'alice'
			}
		}
	});
	const ask = (): Promise<Response> =>
		realtime.fetch('/api/events?channel=demo', { method: 'GET' });
	const allowed = await ask();
	expect(allowed.status).toBe(200);
	await allowed.body!.cancel();
	name = 'bob';
	expect((await ask()).status).toBe(403);
});

test('a test endpoint without channels is refused as any endpoint is', () => {
	expect(() => createTestRealtime({} as never)).toThrow(
		expect.objectContaining({ code: 'INVALID_OPTION' })
	);
});
