import { RealtimeError, type RealtimeErrorCode } from '../../protocol/errors.js';
import type { EventIssue } from '../../protocol/event.js';

/** Messages about the fields of the sent data, by the name of the field. */
export type RealtimeEventFields<TInput> = {
	readonly [K in TInput extends object ? keyof TInput & string : never]?: readonly string[];
};

/** An event was not sent, or not accepted. It is not tried again automatically. */
export class RealtimeEventError<TInput = unknown> extends RealtimeError {
	/** Id of the event. Send it again with the same id, and it runs once. */
	readonly eventId: string;
	/** HTTP status of the answer; absent if there was none. */
	readonly status: number | undefined;
	/** The parts of the data that do not match the event's schema. */
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

	/** The issues by field. The field is the first key of an issue's path. */
	get fields(): RealtimeEventFields<TInput> {
		const fields: Record<string, string[]> = {};
		for (const { message, path } of this.issues) {
			if (path.length > 0) (fields[path[0]!] ??= []).push(message);
		}
		return fields as RealtimeEventFields<TInput>;
	}
}
