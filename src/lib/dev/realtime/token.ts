import { createHmac, timingSafeEqual } from 'node:crypto';
import { encode } from '../gojson.js';
import { DEV_ACCOUNT_ID, DEV_ENV_ID, ulid } from '../ids.js';
import type { Topic } from './message.js';

const ISSUER = 'rt.inngest.com';
const LIFE_SECONDS = 60;
// The key of the real dev server, so that each can read the other's tokens.
const SECRET = 'dev-mode-is-not-secret';
const HEADER = base64url('{"alg":"HS256","typ":"JWT"}');

/** The claims of a realtime token. */
export interface TokenClaims {
	topics: Topic[];
	publish: boolean;
}

/** A token that subscribes to `topics` for a minute. */
export function signToken(topics: Topic[] | null): string {
	const now = Math.floor(Date.now() / 1000);
	const body = base64url(
		encode({
			iss: ISSUER,
			sub: DEV_ACCOUNT_ID,
			exp: now + LIFE_SECONDS,
			iat: now,
			jti: ulid(),
			env: DEV_ENV_ID,
			topics,
			publish: false
		})
	);
	return `${HEADER}.${body}.${signature(`${HEADER}.${body}`)}`;
}

/** @returns the claims of a token with our signature that has not expired, otherwise `null`. */
export function verifyToken(token: string): TokenClaims | null {
	const [header, body, signed, ...rest] = token.split('.');
	if (!header || !body || !signed || rest.length > 0) return null;
	const expected = Buffer.from(signature(`${header}.${body}`));
	const given = Buffer.from(signed);
	if (expected.length !== given.length || !timingSafeEqual(expected, given)) return null;
	const { alg } = parse(header);
	const { iss, exp, iat, topics, publish } = parse(body);
	const now = Date.now() / 1000;
	if (alg !== 'HS256' || iss !== ISSUER || typeof exp !== 'number' || now >= exp) return null;
	if (typeof iat === 'number' && iat > now) return null;
	return { topics: Array.isArray(topics) ? (topics as Topic[]) : [], publish: publish === true };
}

function signature(text: string): string {
	return createHmac('sha256', SECRET).update(text).digest('base64url');
}

function base64url(text: string): string {
	return Buffer.from(text).toString('base64url');
}

function parse(part: string): Record<string, unknown> {
	try {
		const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
		return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
	} catch {
		return {};
	}
}
