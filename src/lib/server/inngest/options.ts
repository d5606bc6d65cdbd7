import type { Agent } from 'node:http';

/** What a socket to Inngest must offer. The standard `WebSocket` and that of `ws` do. */
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
	 * On Node, the agent through which the socket connects: the agent of a proxy, or an `https.Agent` with your
	 * own certificates. @default the environment's proxy if `fetch` uses it, otherwise a direct connection
	 */
	agent?: Agent;
	/**
	 * The class of the socket. If it cannot send pings, a subscription counts as confirmed after 500 ms.
	 * @default `WebSocket` of the package `ws` on Node, the platform's elsewhere
	 */
	WebSocket?: new (url: string) => WebSocketLike;
}
