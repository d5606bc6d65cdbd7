import { context, trace, type Context, type Span, type Tracer } from '@opentelemetry/api';
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import { loadTracing } from '../../src/lib/server/runtime/spans.js';
import { memoryBackend } from '../../src/lib/server/index.js';
import { createTestRealtime } from '../../src/lib/testing/index.js';
import { demoChannel } from '../support/channels.js';
import { say } from '../support/events.js';

interface Recorded {
	name: string;
	parent: string | undefined;
	attributes: Record<string, unknown>;
	failed?: boolean;
	ended?: boolean;
}

const spans: Recorded[] = [];
const names = new WeakMap<object, string>();

/** As much of a tracer as shows which span is inside which. */
const tracer = {
	startActiveSpan(name: string, options: { attributes: object }, work: (span: Span) => unknown) {
		const around = trace.getSpan(context.active());
		const recorded: Recorded = {
			name,
			parent: around && names.get(around),
			attributes: { ...options.attributes }
		};
		spans.push(recorded);
		const span = {
			setAttribute: (key: string, value: unknown) => void (recorded.attributes[key] = value),
			setStatus: () => void (recorded.failed = true),
			end: () => void (recorded.ended = true)
		} as unknown as Span;
		names.set(span, name);
		return context.with(trace.setSpan(context.active(), span), () => work(span));
	}
} as unknown as Tracer;

beforeAll(async () => {
	const storage = new AsyncLocalStorage<Context>();
	context.setGlobalContextManager({
		active: () => storage.getStore() ?? ROOT_CONTEXT,
		with: (active, work, thisArg, ...args) =>
			storage.run(active, () => work.call(thisArg as never, ...args)),
		bind: (_, target) => target,
		enable() {
			return this;
		},
		disable() {
			return this;
		}
	});
	trace.setGlobalTracerProvider({ getTracer: () => tracer });
	await loadTracing();
});
afterAll(() => {
	trace.disable();
	context.disable();
});

beforeEach(() => void (spans.length = 0));

test('an event shows as a trace: receive, authorize, run, publish', async () => {
	let fails = true;
	const realtime = createTestRealtime({
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		onFailure() {},
		events: {
			say: {
				event: say,
				authorize: () => true,
				async run({ emit }, { message }) {
					if (fails) throw new Error('no');
					await emit(demoChannel().message, { message });
					return { said: message };
				}
			}
		}
	});
	await realtime.send(say, { message: 'a' }, { id: 'e' });
	expect(spans.at(-1)).toMatchObject({ name: 'realtime.event run', failed: true, ended: true });
	spans.length = 0;
	fails = false;
	await realtime.send(say, { message: 'a' }, { id: 'e' });
	const receive = 'realtime.event receive';
	const event = { 'realtime.event.name': 'demo/say', 'realtime.event.id': 'e' };
	expect(spans).toEqual([
		{
			name: receive,
			parent: undefined,
			ended: true,
			attributes: { 'http.response.status_code': 200 }
		},
		{ name: 'realtime.event authorize', parent: receive, ended: true, attributes: event },
		{ name: 'realtime.event run', parent: receive, ended: true, attributes: event },
		{
			name: 'realtime publish',
			parent: 'realtime.event run',
			ended: true,
			attributes: { 'realtime.channel': 'demo', 'realtime.topic': 'message' }
		}
	]);
	realtime.close();
});

test.each(['this process', 'a backend'])(
	'its trace shows when readers were handed what it emitted, by %s',
	async (carrier) => {
		const realtime = createTestRealtime({
			channels: { demo: { channel: demoChannel, authorize: () => true } },
			...(carrier === 'a backend' && { backend: memoryBackend() }),
			events: {
				say: {
					event: say,
					authorize: () => true,
					async run({ emit }, { message }) {
						await emit(demoChannel().message, { message }, { key: message });
						return { said: message };
					}
				}
			}
		});
		const end = new AbortController();
		const body = JSON.stringify({ channel: 'demo' });
		const readers = await Promise.all(
			[1, 2].map(async () => {
				const init = { method: 'POST', body, signal: end.signal };
				const { body: stream } = await realtime.fetch('/api/events', init);
				return readUntil(stream!, '"connected"');
			})
		);
		// Nobody's: there is no trace around it.
		await realtime.emit(demoChannel().message, { message: 'before' });
		await realtime.send(say, { message: 'a' });
		await Promise.all(readers.map((reader) => reader.until('"a"')));
		await realtime.send(say, { message: 'a' });
		const delivered = spans.filter(({ name }) => name === 'realtime deliver');
		expect(delivered).toEqual([
			{
				name: 'realtime deliver',
				parent: 'realtime.event run',
				ended: true,
				attributes: {
					'realtime.channel': 'demo',
					'realtime.topic': 'message',
					'realtime.readers': 2
				}
			}
		]);
		end.abort();
		realtime.close();
	}
);

/** Reads a stream until a text has come; then until others have. */
async function readUntil(stream: ReadableStream<Uint8Array>, text: string) {
	const reader = stream.getReader();
	const decoder = new TextDecoder();
	const until = async (wanted: string): Promise<void> => {
		for (let read = ''; !read.includes(wanted);)
			read += decoder.decode((await reader.read()).value);
	};
	await until(text);
	return { until };
}
