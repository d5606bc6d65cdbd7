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
 * What a reader gets of an entry: the entry, another one in its place, or `null` for nothing.
 *
 * Throws, or rejects with, a `Failure` when the reader may read no further.
 */
export type View = (entry: LogEntry) => Answer<LogEntry | null>;

/** A reader, as `view` is told of it. */
export interface Viewer {
	event: RequestEvent;
	params: RealtimeRequestParams;
}

/**
 * The `view` of an entry of the registry for one reader; `undefined` where it has none.
 *
 * What it throws ends the reader's channel, as with `reauthorize`: the message is never let through.
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
					// A copy of its own: what one reader's view changes in it is not for others to see.
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

/** The entry with what a view answered; what tells where it belongs stays as it was. */
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
	// Whoever sees a message as it is shares its encoding.
	return payload === entry.payload ? entry : entry.as(payload);
}

/**
 * What each message passes on its way to a reader.
 *
 * @param authorization Asked before, where each message is checked.
 */
export function createCheck(
	authorization: Authorization | undefined,
	view: View | undefined
): View | undefined {
	if (!authorization) return view;
	return (entry) =>
		whenReady(authorization.checkMessage(entry.envelope), () => (view ? view(entry) : entry));
}
