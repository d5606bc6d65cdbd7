import { context, trace, type Context, type Span, type Tracer } from '@opentelemetry/api';
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import { loadTracing } from '../../src/lib/server/runtime/spans.js';
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
