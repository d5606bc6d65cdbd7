import { Inngest } from 'inngest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import type { RealtimeEndpointOptions } from '../../src/lib/server/options.js';
import type { ChannelLike } from '../../src/lib/protocol/channel.js';
import { serve, type TestServer } from './server.js';
import { openEventSource, openStream, type SseReader } from './sse.js';

/** An engine, an endpoint on it, and what is to be closed at the end. */
export interface World {
	engine: InngestDev;
	inngest: Inngest;
	realtime: Realtime;
	server: TestServer;
	/** Opens a stream by POST. */
	open(body: unknown, headers?: Record<string, string>): Promise<SseReader>;
	/** Opens a stream by GET, as an `EventSource` does. */
	openGet(query: string, headers?: Record<string, string>): Promise<SseReader>;
	/** Sends a body as JSON, whatever the answer is; a text is sent as it is. */
	post(body: unknown, headers?: Record<string, string>): Promise<Answer>;
	publish(channel: string, topic: string, data: unknown): Promise<void>;
	close(): Promise<void>;
}

/** An answer that is no stream. */
export interface Answer {
	status: number;
	headers: Headers;
	body: Record<string, unknown>;
}

export function inngestAt(url: string): Inngest {
	return new Inngest({ id: 'test', baseUrl: url, isDev: true });
}

/** Starts an engine and serves an endpoint with `options` over real HTTP. */
export async function startWorld<const TChannels extends Record<string, ChannelLike>>(
	options: Omit<RealtimeEndpointOptions<TChannels>, 'inngest'>,
	serveOptions: Parameters<typeof serve>[1] = {}
): Promise<World> {
	const engine = await startInngestDev();
	const inngest = inngestAt(engine.url);
	const realtime = createRealtime({ ...options, inngest });
	const server = await serve(realtime, serveOptions);
	const readers: SseReader[] = [];
	return {
		engine,
		inngest,
		realtime,
		server,
		async open(body, headers) {
			const reader = await openStream(server.url, body, headers);
			readers.push(reader);
			return reader;
		},
		async openGet(query, headers) {
			const reader = await openEventSource(`${server.url}?${query}`, headers);
			readers.push(reader);
			return reader;
		},
		async post(body, headers) {
			const response = await fetch(server.url, {
				method: 'POST',
				body: typeof body === 'string' ? body : JSON.stringify(body),
				headers: { 'content-type': 'application/json', ...headers }
			});
			if (response.status === 200) {
				await response.body?.cancel();
				throw new Error('The request was answered with a stream.');
			}
			return {
				status: response.status,
				headers: response.headers,
				body: (await response.json()) as Record<string, unknown>
			};
		},
		async publish(channel, topic, data) {
			await engine.publish({ channel, topic, data });
		},
		async close() {
			for (const reader of readers) reader.close();
			realtime.close();
			await server.close();
			await engine.close();
		}
	};
}
