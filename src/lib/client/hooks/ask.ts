import type { TopicData } from '../../protocol/types.js';
import type { ChannelOf, ChannelSource, TopicOf } from '../types.js';
import type { RealtimeHookOptions } from './options.js';
import { post } from './post.js';
import { ChannelRef } from './ref.js';

/** What a handler of `onAsk` gets besides the data. */
export interface RealtimeAskContext {
	/** Aborted when another page has answered, or nobody waits any more. */
	signal: AbortSignal;
}

/**
 * Answers questions of `realtime.ask` to this page, until the returned function is called or the component
 * ends. If the handler throws, the server gets the text of the error.
 *
 * @param handler Its result, after JSON, is the answer. If the member has several pages, the first answer
 *   wins.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * onAsk(chatChannel, 'confirm', ({ text }) => confirm(text));
 * ```
 */
export function onAsk<TChannel extends ChannelSource, TTopic extends TopicOf<TChannel>>(
	channel: TChannel,
	topic: TTopic,
	handler: (data: TopicData<ChannelOf<TChannel>, TTopic>, context: RealtimeAskContext) => unknown,
	options: RealtimeHookOptions<TChannel> = {}
): () => void {
	const ref = new ChannelRef(channel, options.channelParams, options.bus);
	return ref.follow((state) => {
		const open = new Map<string, AbortController>();
		const answer = async (id: string, data: unknown): Promise<void> => {
			const controller = new AbortController();
			open.set(id, controller);
			let reply: { data: unknown } | { error: string };
			try {
				const result = await handler(data as never, { signal: controller.signal });
				reply = { data: result ?? null };
			} catch (error) {
				reply = { error: String((error as Error)?.message ?? error) };
			}
			if (!controller.signal.aborted) await post(ref.owner, { answer: { id, ...reply } });
			open.delete(id);
		};
		const stop = state.frames.listen(({ event, data }) => {
			if (event !== 'ask' || data.topic !== topic) return;
			if (data.isOver) open.get(data.id)?.abort();
			else void answer(data.id, data.data);
		});
		return () => {
			stop();
			for (const controller of open.values()) controller.abort();
		};
	});
}
