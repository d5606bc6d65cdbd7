import { onTestFinished } from 'vitest';
import type { EventDefinition } from '../../src/lib/protocol/event.js';
import {
	createRealtime,
	type Realtime,
	type RealtimeEndpointOptions,
	type RealtimeEventAudit,
	type RealtimeServerFailureContext
} from '../../src/lib/server/index.js';
import { demoChannel } from './channels.js';
import { serve } from './server.js';
import { clientAt } from './upstream.js';

type Options<TEvents extends Record<string, EventDefinition> = Record<string, EventDefinition>> =
	RealtimeEndpointOptions<{ demo: typeof demoChannel }, TEvents>;

/** The answer to an event. */
export interface Answer {
	status: number;
	headers: Headers;
	body: Record<string, unknown>;
}

/** An endpoint that takes events. */
export interface Sending {
	realtime: Realtime;
	url: string;
	failures: RealtimeServerFailureContext[];
	/** What `onEvent` heard. */
	heard: RealtimeEventAudit[];
	send(body: unknown, headers?: Record<string, string>): Promise<Answer>;
}

/** Serves an endpoint over real HTTP until the test ends; the sender is who the header `x-user` says. */
export async function startSending<const TEvents extends Record<string, EventDefinition>>(
	events: Options<TEvents>['events'],
	options: Partial<Omit<Options, 'events'>> = {}
): Promise<Sending> {
	const failures: RealtimeServerFailureContext[] = [];
	const heard: RealtimeEventAudit[] = [];
	const realtime = createRealtime({
		inngest: clientAt('http://127.0.0.1:9'),
		channels: { demo: { channel: demoChannel, authorize: () => true, source: false } },
		events,
		identify: ({ event }: { event: { request: Request } }) => event.request.headers.get('x-user'),
		onFailure: (failure: RealtimeServerFailureContext) => void failures.push(failure),
		onEvent: (audit: RealtimeEventAudit) => void heard.push(audit),
		...(options as object)
	} as never);
	const server = await serve(realtime);
	onTestFinished(async () => {
		realtime.close();
		await server.close();
	});
	return {
		realtime,
		url: server.url,
		failures,
		heard,
		async send(body, headers) {
			const response = await fetch(server.url, {
				method: 'POST',
				headers: { 'content-type': 'application/json', ...headers },
				body: typeof body === 'string' ? body : JSON.stringify(body)
			});
			const text = await response.text();
			return {
				status: response.status,
				headers: response.headers,
				body: JSON.parse(text) as Record<string, unknown>
			};
		}
	};
}
