import { createHash, randomBytes } from 'node:crypto';

/** Ids that the real dev server gives to everything it holds. */
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

/** @returns the ULID in `text`, or `undefined` where there is none (or only the zero one). */
export function parseUlid(text: string | null): string | undefined {
	if (text === null || !ULID.test(text) || text === ZERO_ULID) return undefined;
	return text.toUpperCase();
}

/** An id like those the real server gives data streams: 64 bits to the base of 36. */
export function streamId(): string {
	return randomBytes(8).readBigUInt64BE().toString(36);
}

/** The same UUID for the same text. */
export function uuidOf(text: string): string {
	const bytes = createHash('sha1').update(text).digest().subarray(0, 16);
	bytes[6] = (bytes[6]! & 0x0f) | 0x50;
	bytes[8] = (bytes[8]! & 0x3f) | 0x80;
	return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
