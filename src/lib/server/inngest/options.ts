import type { Agent } from 'node:http';

/** What a socket to Inngest must be able to do: the standard `WebSocket` and the one of `ws` are such. */
export interface WebSocketLike {
	addEventListener(type: 'open' | 'error', listener: () => void): void;
	addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
	addEventListener(
		type: 'close',
		listener: (event: { code: number; reason: string }) => void
	): void;
	send(data: string): void;
	close(): void;
}

/** How the socket to Inngest is opened. */
export interface RealtimeUpstreamOptions {
	/**
	 * On Node, the agent through which the socket connects: a proxy's, or an `https.Agent` with certificates
	 * of your own. @default the environment's proxy where `fetch` follows it, else a direct connection
	 */
	agent?: Agent;
	/**
	 * The class of the socket. One that cannot send pings is believed to be subscribed after 500 ms.
	 * @default `WebSocket` of the package `ws` on Node, the platform's elsewhere
	 */
	WebSocket?: new (url: string) => WebSocketLike;
}
