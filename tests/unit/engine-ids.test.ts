import { expect, it } from 'vitest';
import { parseUlid, streamId, ulid, uuidOf } from '../../src/lib/dev/ids.js';

it('a ULID holds its time and its entropy', () => {
	const id = ulid(1_469_918_176_385, Buffer.from('c9c3c0bd2c1f6a0e1d27', 'hex'));
	expect(id).toMatch(/^01ARYZ6S41/);
	expect(id).toHaveLength(26);
	expect(ulid(1)).not.toBe(ulid(1));
	expect(ulid(1) < ulid(2)).toBe(true);
});

it('a ULID is read in either case, and the zero one is none', () => {
	const id = ulid();
	expect(parseUlid(id.toLowerCase())).toBe(id);
	for (const text of [null, '', 'x', '0'.repeat(26), '8' + id.slice(1), id + '0']) {
		expect(parseUlid(text), String(text)).toBeUndefined();
	}
});

it('a UUID of a text is always the same', () => {
	expect(uuidOf('a')).toBe(uuidOf('a'));
	expect(uuidOf('a')).not.toBe(uuidOf('b'));
	expect(uuidOf('a')).toMatch(
		/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
	);
});

it('a stream id has neither colons nor capitals', () => {
	for (let n = 0; n < 100; n++) expect(streamId()).toMatch(/^[0-9a-z]{1,13}$/);
});
