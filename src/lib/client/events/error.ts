import { RealtimeError, type RealtimeErrorCode } from '../../protocol/errors.js';
import type { EventIssue } from '../../protocol/event.js';

/** Messages about the fields of what was sent, by the name of the field. */
export type RealtimeEventFields<TInput> = {
	readonly [K in TInput extends object ? keyof TInput & string : never]?: readonly string[];
};

/** Why an event was not sent, or not accepted. It is not tried again by itself. */
export class RealtimeEventError<TInput = unknown> extends RealtimeError {
	/** Id of the event. Send it again with the same id, and it runs once. */
	readonly eventId: string;
	/** HTTP status of the answer; absent where there was none. */
	readonly status: number | undefined;
	/** What does not match the event's schema. */
	readonly issues: readonly EventIssue[];

	/** @internal */
	constructor(
		code: RealtimeErrorCode,
		message: string,
		options: ErrorOptions & { eventId: string; status?: number; issues?: readonly EventIssue[] }
	) {
		super(code, message, options);
		this.eventId = options.eventId;
		this.status = options.status;
		this.issues = options.issues ?? [];
	}

	/** The issues by the field, the first key of their path, that they concern. */
	get fields(): RealtimeEventFields<TInput> {
		const fields: Record<string, string[]> = {};
		for (const { message, path } of this.issues) {
			if (path.length > 0) (fields[path[0]!] ??= []).push(message);
		}
		return fields as RealtimeEventFields<TInput>;
	}
}
