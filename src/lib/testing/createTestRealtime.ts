import type { RequestEvent } from '@sveltejs/kit';
import type { ChannelLike } from '../protocol/channel.js';
import { createRealtime, type Realtime, type RealtimeEndpointOptions } from '../server/index.js';
import { TestSource } from './source.js';

/** Options of `createTestRealtime`: those of `createRealtime`, without an Inngest client. */
export type TestRealtimeOptions<TChannels extends Record<string, ChannelLike>> = Omit<
	RealtimeEndpointOptions<TChannels>,
	'inngest'
> & {
	/** `event.locals` of requests made with `fetch`; a function is called for each. @default {} */
	locals?: App.Locals | (() => App.Locals);
};

/** A realtime endpoint without Inngest and without a network, and what a test does with it. */
export interface TestRealtime extends Realtime {
	/** Asks the endpoint in this process; give it to `<RealtimeManager fetch>`. */
	fetch: typeof globalThis.fetch;
	/**
	 * The source of messages is lost: streams stay open, and show `connecting`. What is published until
	 * `restore` is gone.
	 */
	lose(reason?: string): void;
	/** The source is back: pages get a `resync`. */
	restore(): void;
	/** Breaks all streams that were opened with `fetch`, as a network does. They come back by themselves. */
	cut(): void;
}

/**
 * Creates an endpoint for tests: the real one, fed in this process. `publish` and `emit` deliver at once.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work.
 * @example
 * ```ts
 * const realtime = createTestRealtime({
 *   channels: { demo: { channel: demoChannel, authorize: () => true } }
 * });
 * const response = await realtime.fetch('/api/events', {
 *   method: 'POST',
 *   body: JSON.stringify({ channel: 'demo' })
 * });
 * await realtime.emit(demoChannel().message, { message: 'hello' });
 * ```
 */
export function createTestRealtime<const TChannels extends Record<string, ChannelLike>>({
	locals = {} as App.Locals,
	...options
}: TestRealtimeOptions<TChannels>): TestRealtime {
	const source = new TestSource();
	const channels = Object.fromEntries(
		Object.entries(options.channels ?? {}).map(([key, config]) => [key, { source, ...config }])
	) as unknown as RealtimeEndpointOptions<TChannels>['channels'];
	const realtime = createRealtime({ ...options, channels, inngest: fakeInngest(source) });
	const streams = new Set<(error: Error) => void>();

	return {
		...realtime,
		async fetch(input, init) {
			const url = new URL(input instanceof Request ? input.url : input, 'http://test.local');
			const request = new Request(input instanceof Request ? input : url, {
				...init,
				// The signal ends the body below, as that of a real request does.
				signal: null
			});
			const event = eventOf(request, url, typeof locals === 'function' ? locals() : locals);
			const response = await (request.method === 'POST' ? realtime.POST : realtime.GET)(event);
			if (!response.body) return response;
			const body = breakable(response.body, init?.signal ?? undefined, streams);
			return new Response(body, response);
		},
		lose: (reason = 'The test took the source away.') => source.lose(reason),
		restore: () => source.restore(),
		cut() {
			for (const fail of [...streams]) fail(new TypeError('network error'));
		}
	};
}

/** What the endpoint needs of an Inngest client; publishing goes straight to the source. */
function fakeInngest(source: TestSource): RealtimeEndpointOptions['inngest'] {
	const client = {
		id: 'test',
		inngestApi: {
			getTargetUrl: (): never => {
				throw new Error('A test endpoint does not talk to Inngest.');
			},
			publish({ channel, topics }: { channel: string; topics: string[] }, json: string) {
				for (const topic of topics) source.deliver(channel, topic, JSON.parse(json));
				return Promise.resolve({ ok: true });
			}
		}
	};
	return client;
}

function eventOf(request: Request, url: URL, locals: App.Locals): RequestEvent {
	const event = {
		request,
		url,
		locals,
		params: {},
		route: { id: null },
		platform: undefined,
		isDataRequest: false,
		isSubRequest: false,
		getClientAddress: () => '127.0.0.1',
		setHeaders() {},
		fetch: globalThis.fetch
	};
	return event as unknown as RequestEvent;
}

/** The same body, which `signal` and the members of `streams` can break off. */
function breakable(
	body: ReadableStream<Uint8Array>,
	signal: AbortSignal | undefined,
	streams: Set<(error: Error) => void>
): ReadableStream<Uint8Array> {
	const reader = body.getReader();
	let fail: (error: Error) => void;
	const abort = (): void => fail(signal!.reason as Error);
	const end = (): void => {
		streams.delete(fail);
		signal?.removeEventListener('abort', abort);
	};
	return new ReadableStream({
		start(controller) {
			fail = (error) => {
				end();
				controller.error(error);
				void reader.cancel();
			};
			streams.add(fail);
			signal?.addEventListener('abort', abort);
			if (signal?.aborted) abort();
		},
		async pull(controller) {
			const { done, value } = await reader.read();
			// It may have been broken off meanwhile.
			if (!streams.has(fail)) return;
			if (!done) return controller.enqueue(value);
			end();
			controller.close();
		},
		cancel() {
			end();
			return reader.cancel();
		}
	});
}
