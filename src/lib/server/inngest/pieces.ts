import type { UpstreamTopic } from './token.js';

/** Most bytes of a token in the URL of a socket. */
export const MAX_URL_TOKEN_BYTES = 4 * 1024;

/** Most bytes of a frame to Inngest, which closes a socket that sends more than 32,768 (code 1009). */
export const MAX_SENT_BYTES = 24 * 1024;

/** A token's bytes besides its topics: header, signature and claims, with room to spare. */
const TOKEN_BASE_BYTES = 640;

/** Go escapes these characters with six bytes. */
const ESCAPED = /[<>&\u2028\u2029]/g;

const encoder = new TextEncoder();

/** The bytes that one topic adds to a token: its JSON, in base64. */
function topicBytes({ channel, name }: UpstreamTopic): number {
	const json = JSON.stringify({ kind: 'run', env_id: ' '.repeat(36), channel, name });
	const escapes = json.match(ESCAPED)?.length ?? 0;
	return Math.ceil(((encoder.encode(json).length + 1 + escapes * 5) * 4) / 3);
}

/** @returns as many of the first topics as fit into a token of `maxBytes`, and at least one. */
export function firstPiece(topics: Iterable<UpstreamTopic>, maxBytes: number): UpstreamTopic[] {
	const piece: UpstreamTopic[] = [];
	let bytes = TOKEN_BASE_BYTES;
	for (const topic of topics) {
		bytes += topicBytes(topic);
		if (bytes > maxBytes && piece.length > 0) break;
		piece.push(topic);
	}
	return piece;
}

/** Whether a topic fits into a frame at all. A larger frame would close the socket for everybody. */
export function fitsFrame(topic: UpstreamTopic): boolean {
	return TOKEN_BASE_BYTES + topicBytes(topic) <= MAX_SENT_BYTES;
}
