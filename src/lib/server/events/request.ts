import { Failure } from '../failure/failure.js';

/** An event as it arrived. */
export interface ParsedEvent {
	name: string;
	id: string;
	data: unknown;
	/** Version of the schema that the page was built with. @default the server's version */
	version: number | undefined;
	/** JSON of the name and the data, to tell whether two events with one id are the same. */
	text: string;
}

/** Characters that are safe in a log, a header and a key: visible ASCII. */
const ID = /^[\x21-\x7e]{1,128}$/;

/** Deepest nesting of the data. */
const MAX_DEPTH = 64;

/**
 * Reads the body of a POST that sends an event.
 *
 * @throws {Failure} `event-validation` 400.
 */
export function parseEvent(body: { event: unknown }): ParsedEvent {
	const { event: name, id, data, v: version } = body as Record<string, unknown>;
	if (typeof name !== 'string') throw malformed('`event` must be the name of an event');
	if (typeof id !== 'string' || !ID.test(id)) {
		throw malformed('`id` must be 1 to 128 letters, digits or punctuation marks');
	}
	const isVersion = version === undefined || (Number.isSafeInteger(version) && Number(version) > 0);
	if (!isVersion) throw malformed('`v` must be a whole number from 1');
	checkData(data);
	return {
		name,
		id,
		data,
		version: version as number | undefined,
		text: JSON.stringify([name, data], inOrder)
	};
}

/** Makes the JSON of equal data equal: a page may build the data again in another order. */
function inOrder(_key: string, value: unknown): unknown {
	if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
	return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The id of a request: the client's, or a new one. */
export function requestIdOf({ headers }: Request): string {
	const given = headers.get('x-request-id');
	return given !== null && ID.test(given) ? given : crypto.randomUUID();
}

/**
 * Refuses data that is dangerous for handlers: nested so deeply that walking it overflows the stack, or with
 * the key `__proto__`, which changes the prototype of an object that it is copied to.
 */
function checkData(data: unknown): void {
	let level: unknown[] = [data];
	for (let depth = 0; level.length > 0; depth++) {
		if (depth > MAX_DEPTH) {
			throw malformed(`\`data\` is nested more than ${MAX_DEPTH} levels deep`);
		}
		const next: unknown[] = [];
		for (const value of level) {
			if (typeof value !== 'object' || value === null) continue;
			if (Object.hasOwn(value, '__proto__')) {
				throw malformed('`data` must not have the key "__proto__"');
			}
			for (const member of Object.values(value)) next.push(member);
		}
		level = next;
	}
}

function malformed(what: string): Failure {
	return new Failure('event-validation', 400, `The event is malformed: ${what}`);
}
