import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** A distributed trace, as in the headers of W3C Trace Context. */
export interface Trace {
	/** 32 hexadecimal digits. */
	id: string;
	/** Two hexadecimal digits. */
	flags: string;
	/** The value of `tracestate` from other systems. */
	state: string;
}

const TRACEPARENT = /^[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-([\da-f]{2})$/;

/** The trace that a request is part of. */
export function readTrace({ traceparent, tracestate }: IncomingHttpHeaders): Trace | undefined {
	const [, id, flags] = TRACEPARENT.exec(String(traceparent)) ?? [];
	return id && flags ? { id, flags, state: tracestate?.toString() ?? '' } : undefined;
}

export function newTrace(): Trace {
	return { id: randomBytes(16).toString('hex'), flags: '01', state: '' };
}

/** Headers for a request in a new span. They name the app and the function. */
export function traceHeaders(
	trace: Trace,
	{ appUuid, uuid }: { appUuid: string; uuid: string }
): Record<string, string> {
	const own = `inngest@fn=${uuid},inngest@app=${appUuid}`;
	return {
		traceparent: `00-${trace.id}-${randomBytes(8).toString('hex')}-${trace.flags}`,
		tracestate: trace.state ? `${own},${trace.state}` : own
	};
}
