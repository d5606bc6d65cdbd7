import type { RequestHandler } from '@sveltejs/kit';
import type { ChannelLike } from '../protocol/channel.js';
import { createRealtime } from './createRealtime.js';
import type { RealtimeEndpointOptions } from './options.js';

/**
 * Creates the `POST` handler of the one realtime endpoint of an app.
 *
 * @param options See {@link RealtimeEndpointOptions}.
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work.
 * @example
 * ```ts
 * // src/routes/api/events/+server.ts
 * export const POST = createRealtimeEndpoint({
 *   inngest,
 *   channels: { demo: { channel: demoChannel, authorize: ({ locals }) => locals.user !== null } }
 * });
 * ```
 */
export function createRealtimeEndpoint<const TChannels extends Record<string, ChannelLike>>(
	options: RealtimeEndpointOptions<TChannels>
): RequestHandler {
	return createRealtime(options).POST;
}

export type {
	RealtimeIdentify,
	RealtimeIdentifyResult,
	RealtimeIdentity
} from './access/identity.js';
export type {
	RealtimeAuthorizeContext,
	RealtimeAuthorizeResult,
	RealtimeChannelConfig,
	RealtimeLimits,
	RealtimeReauthorizeContext
} from './access/options.js';
export { RealtimeDenied } from './failure/denied.js';
export type {
	RealtimeServerFailureContext,
	RealtimeServerFailureHandler
} from './failure/report.js';
export type { RealtimeEndpointOptions, RealtimeHealthCheckOptions } from './options.js';
export type { RealtimeServerFailureStage } from '../protocol/health.js';
