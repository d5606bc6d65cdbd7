import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { SourceMessage } from './source.js';

/** The message as it is sent, with its data as the topic's schema returns it. */
export function envelopeOf(message: SourceMessage, data: unknown): RealtimeTopicEnvelope {
	const { channel, topic, runId, fnId, envId, kind, streamId, clientEventId } = message;
	const created = new Date(message.createdAt ?? Date.now());
	return {
		channel,
		topic,
		data,
		...(runId !== undefined && { runId }),
		...(fnId !== undefined && { fnId }),
		...(envId !== undefined && { envId }),
		createdAt: (Number.isNaN(created.getTime()) ? new Date() : created).toISOString(),
		kind,
		...(streamId !== undefined && { streamId }),
		...(clientEventId !== undefined && { clientEventId })
	};
}

/** Most keys of messages that are remembered, to count equal ones. */
const MAX_REMEMBERED = 1_000;

/**
 * Keys under which messages are stored: a fingerprint, and how many messages with the same fingerprint came
 * before. Two processes that receive the same messages compute the same keys. The fingerprint uses the data
 * as it came, because the output of a schema may differ between processes.
 */
export class EventKeys {
	readonly #occurrences = new Map<string, number>();
	readonly #maxRemembered: number;

	constructor(maxRemembered = MAX_REMEMBERED) {
		this.#maxRemembered = maxRemembered;
	}

	keyOf(message: SourceMessage): string {
		const key = message.key();
		const occurrence = (this.#occurrences.get(key) ?? 0) + 1;
		this.#occurrences.delete(key);
		this.#occurrences.set(key, occurrence);
		if (this.#occurrences.size > this.#maxRemembered) {
			this.#occurrences.delete(this.#occurrences.keys().next().value!);
		}
		return `${key}\n${occurrence}`;
	}
}
