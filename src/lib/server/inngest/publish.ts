import type { ChannelLike } from '../../protocol/channel.js';
import { RealtimeError } from '../../protocol/errors.js';
import { checkOutgoing, describePlace } from './outgoing.js';
import { addressOf, type PublishTarget } from './target.js';
import type { InngestClient } from './token.js';

interface PublishApi {
	getTargetUrl?: (path: string) => Promise<URL>;
	publish?: (
		target: { channel: string; topics: string[] },
		data: unknown
	) => Promise<{ ok: boolean; error?: { error?: string } }>;
}

/**
 * Publishes one message through Inngest's API, outside of a function. It is validated as JSON, in the form
 * that its readers will receive.
 *
 * @throws {RealtimeError} `INVALID_MESSAGE` when the data cannot be sent as JSON, is larger than 512 KiB,
 *   or does not match the topic's schema as JSON; `UNSUPPORTED` if the Inngest client cannot publish;
 *   `UPSTREAM` when Inngest refuses.
 * @param clientEventId Id of the event whose handler publishes.
 */
export async function publish(
	inngest: InngestClient,
	{ channels, callbackTimeoutMs }: { channels: readonly ChannelLike[]; callbackTimeoutMs: number },
	target: PublishTarget,
	data: unknown,
	clientEventId?: string
): Promise<void> {
	const address = await addressOf(target, data, channels);
	const { channel, topic } = address;
	const { json } = await checkOutgoing(address, data, callbackTimeoutMs);
	const { inngestApi } = inngest as unknown as { inngestApi: PublishApi };
	if (typeof inngestApi.publish !== 'function') {
		throw new RealtimeError(
			'UNSUPPORTED',
			'This version of inngest cannot publish outside of a function; use inngest 3.42 or later.'
		);
	}
	let reason: string | undefined;
	try {
		// Inngest's client posts a string unchanged.
		const api = clientEventId === undefined ? inngestApi : naming(inngestApi, clientEventId);
		const answer = await api.publish!({ channel, topics: [topic] }, json);
		if (answer.ok) return;
		reason = answer.error?.error;
	} catch (error) {
		reason = String(error);
	}
	throw new RealtimeError(
		'UPSTREAM',
		`Inngest did not take the message for ${describePlace(address)}: ${reason ?? 'no reason given'}.`
	);
}

/** The same client, with the id of an event on its messages: Inngest passes metadata on unchanged. */
function naming(api: PublishApi, clientEventId: string): PublishApi {
	const getTargetUrl = async (path: string): Promise<URL> => {
		const url = await api.getTargetUrl!(path);
		url.searchParams.set('metadata', JSON.stringify({ clientEventId }));
		return url;
	};
	return Object.create(api, { getTargetUrl: { value: getTargetUrl } }) as PublishApi;
}
