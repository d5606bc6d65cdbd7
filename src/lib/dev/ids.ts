import { createHash, randomBytes } from 'node:crypto';

/** Account and environment that everything in the real dev server belongs to. */
export const DEV_ACCOUNT_ID = '00000000-0000-4000-a000-000000000000';
export const DEV_ENV_ID = '00000000-0000-4000-b000-000000000000';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i;
const ZERO_ULID = '0'.repeat(26);

/**
 * A new ULID.
 *
 * @param timeMs Milliseconds since the epoch that the id starts with.
 * @param entropy Ten bytes that it ends with.
 */
export function ulid(timeMs = Date.now(), entropy: Uint8Array = randomBytes(10)): string {
	let bits = BigInt(Math.trunc(timeMs)) << 80n;
	bits |= BigInt(`0x${Buffer.from(entropy).toString('hex')}`);
	let text = '';
	for (let i = 0; i < 26; i++) {
		text = CROCKFORD[Number(bits & 31n)] + text;
		bits >>= 5n;
	}
	return text;
}

/** @returns the ULID in `text`, or `undefined` if it is not one, or is all zeros. */
export function parseUlid(text: string | null): string | undefined {
	if (text === null || !ULID.test(text) || text === ZERO_ULID) return undefined;
	return text.toUpperCase();
}

/** A random id for a data stream, in the real server's format: 64 bits in base 36. */
export function streamId(): string {
	return randomBytes(8).readBigUInt64BE().toString(36);
}

/** A UUID made from a text: always the same for the same text. */
export function uuidOf(text: string): string {
	const bytes = createHash('sha1').update(text).digest().subarray(0, 16);
	bytes[6] = (bytes[6]! & 0x0f) | 0x50;
	bytes[8] = (bytes[8]! & 0x3f) | 0x80;
	return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
