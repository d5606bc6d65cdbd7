import type { RequestEvent } from '@sveltejs/kit';
import type { RealtimeRequestParams } from '../../protocol/request.js';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { CallbackError } from '../failure/callback.js';
import { callApp } from '../failure/callback.js';
import { TEXT } from '../failure/failure.js';
import type { LogEntry } from '../hub/entry.js';
import { whenReady, type Answer } from '../runtime/thenable.js';
import type { Authorization } from './authorization.js';
import type { RealtimeChannelConfig } from './options.js';

/**
 * What a reader gets for an entry: the entry, another one in its place, or `null` for nothing.
 *
 * Throws, or rejects with, a `Failure` when the reader may read no further.
 */
export type View = (entry: LogEntry) => Answer<LogEntry | null>;

/** The reader that `view` is called for. */
export interface Viewer {
	event: RequestEvent;
	params: RealtimeRequestParams;
}

/**
 * The `view` of a registry entry for one reader; `undefined` if the entry has none.
 *
 * If it throws, the reader's channel ends, as with `reauthorize`: the message is never sent.
 */
export function createView(
	{ view }: Pick<RealtimeChannelConfig, 'view'>,
	{ event, params }: Viewer,
	timeoutMs: number
): View | undefined {
	if (!view) return undefined;
	const fail = (error: unknown): never => {
		const texts = { denied: TEXT.revoked, fault: TEXT.unchecked };
		throw (error as CallbackError).asFailure('reauthorization', texts);
	};
	return (entry) => {
		if (entry.kind !== 'message') return entry;
		try {
			const seen = callApp('view', timeoutMs, () =>
				whenReady(
					// Each reader gets a copy: what its view changes in it must not show up for others.
					view({
						event,
						locals: event.locals,
						params: { ...params },
						message: JSON.parse(entry.payload)
					} as never) as Answer<unknown>,
					(seen) => seenOf(entry, seen)
				)
			);
			return whenReady(seen, (seen) => seen, fail);
		} catch (error) {
			return fail(error);
		}
	};
}

/** The entry with the result of a view; its topic, kind and position stay as they were. */
function seenOf(entry: LogEntry, seen: unknown): LogEntry | null {
	if (seen === null) return null;
	if (typeof seen !== 'object') {
		throw new TypeError(`\`view\` must return the message or null, not ${typeof seen}.`);
	}
	const { channel, topic, kind, streamId, createdAt, history } = entry.envelope;
	const message: Partial<RealtimeTopicEnvelope> = {
		...seen,
		channel,
		topic,
		kind,
		createdAt,
		...(streamId !== undefined && { streamId }),
		...(history && { history })
	};
	const payload = JSON.stringify(message);
	// Readers whose view changes nothing share the encoding.
	return payload === entry.payload ? entry : entry.as(payload);
}

/**
 * The checks that each message passes on its way to a reader.
 *
 * @param authorization Asked first, if each message is checked.
 */
export function createCheck(
	authorization: Authorization | undefined,
	view: View | undefined
): View | undefined {
	if (!authorization) return view;
	return (entry) =>
		whenReady(authorization.checkMessage(entry.envelope), () => (view ? view(entry) : entry));
}
