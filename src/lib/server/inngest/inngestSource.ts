import type { RealtimeSource } from '../hub/source.js';
import type { RealtimeUpstreamOptions } from './options.js';
import { TokenClient, type InngestClient } from './token.js';
import { Upstream } from './upstream.js';

/** Options of `inngestSource`. */
export interface InngestSourceOptions {
	/** How the socket is opened. */
	upstream?: RealtimeUpstreamOptions | undefined;
	/** Called for each frame that cannot be understood. */
	onDrop?: () => void;
}

/**
 * Inngest as a source of messages: one supervised socket for all channels, open while anyone listens. Its
 * name in `stats()` is `inngest`.
 *
 * @throws {RealtimeError} `INVALID_OPTION` when `inngest` is not an Inngest client.
 */
export function inngestSource(
	inngest: InngestClient,
	{ upstream = {}, onDrop = () => {} }: InngestSourceOptions = {}
): RealtimeSource {
	return new Upstream({ client: new TokenClient(inngest), upstream }, onDrop);
}
