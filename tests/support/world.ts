import { Inngest } from 'inngest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import type { RealtimeEndpointOptions } from '../../src/lib/server/options.js';
import type { ChannelLike } from '../../src/lib/protocol/channel.js';
import { serve, type TestServer } from './server.js';
import { openStream, type SseReader } from './sse.js';

/** An engine, an endpoint on it, and what is to be closed at the end. */
export interface World {
	engine: InngestDev;
	inngest: Inngest;
	realtime: Realtime;
	server: TestServer;
	open(body: unknown, headers?: Record<string, string>): Promise<SseReader>;
	publish(channel: string, topic: string, data: unknown): Promise<void>;
	close(): Promise<void>;
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
