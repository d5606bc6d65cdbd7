import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { encode } from '../../src/lib/dev/gojson.js';
import {
	firstPiece,
	MAX_SENT_BYTES,
	MAX_URL_TOKEN_BYTES
} from '../../src/lib/server/inngest/pieces.js';
import type { UpstreamTopic } from '../../src/lib/server/inngest/token.js';

const ID = '01234567-89ab-4def-8123-456789abcdef';

/** A token as the real server signs it, from JSON as Go writes it. */
function tokenOf(topics: readonly UpstreamTopic[]): string {
	const part = (text: string): string => Buffer.from(text).toString('base64url');
	const claims = encode({
		iss: 'rt.inngest.com',
		sub: ID,
		exp: 1_800_000_000,
		iat: 1_800_000_000,
		jti: '01JD0000000000000000000000',
		env: ID,
		topics: topics.map(({ channel, name }) => ({ kind: 'run', env_id: ID, channel, name })),
		publish: false
	});
	const signed = `${part('{"alg":"HS256","typ":"JWT"}')}.${part(claims)}`;
	return `${signed}.${createHmac('sha256', 'secret').update(signed).digest('base64url')}`;
}

/** All pieces of a list. */
function piecesOf(topics: readonly UpstreamTopic[], maxBytes: number): UpstreamTopic[][] {
	const pieces: UpstreamTopic[][] = [];
	for (let rest = topics; rest.length > 0;) {
		const piece = firstPiece(rest, maxBytes);
		pieces.push(piece);
		rest = rest.slice(piece.length);
	}
	return pieces;
}

const topicsNamed = (channel: string): UpstreamTopic[] =>
	Array.from({ length: 400 }, (_, index) => ({ channel: `${channel}${index}`, name: 'message' }));

const names: [string, string][] = [
	['short names', 'c'],
	['long names', 'organization:'.repeat(30)],
	['names that Go escapes', '<b>&amp;</b>'.repeat(10)],
	['line separators, which Go escapes', '\u2028\u2029'.repeat(20)],
	['names beyond ASCII', 'größe-频道-канал'],
	['emoji', '👩‍👩‍👧‍👦🚀'.repeat(5)],
	['quotes and backslashes', '"\\'.repeat(20)],
	['control characters', '\u0001\n\t'.repeat(10)]
];

for (const maxBytes of [MAX_URL_TOKEN_BYTES, MAX_SENT_BYTES]) {
	test.each(names)(`no piece of ${maxBytes} bytes is larger as a token: %s`, (_, channel) => {
		const topics = topicsNamed(channel);
		const pieces = piecesOf(topics, maxBytes);
		expect(pieces.flat()).toEqual(topics);
		for (const piece of pieces) expect(tokenOf(piece).length).toBeLessThanOrEqual(maxBytes);
		// All but the last are filled.
		for (const piece of pieces.slice(0, -1)) {
			expect(tokenOf(piece).length).toBeGreaterThan(maxBytes * 0.6);
		}
	});
}

test('a topic that is larger than a piece is a piece of its own', () => {
	const large = { channel: 'x'.repeat(50_000), name: 'message' };
	const small = { channel: 'a', name: 'message' };
	expect(piecesOf([small, large, small], MAX_SENT_BYTES)).toEqual([[small], [large], [small]]);
});

test('nothing makes no piece', () => {
	expect(firstPiece([], MAX_SENT_BYTES)).toEqual([]);
});
