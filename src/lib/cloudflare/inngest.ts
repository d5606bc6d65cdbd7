import type { InngestClient } from '../server/inngest/token.js';

/** Variables that say which Inngest is meant, named as in Inngest's SDK. */
interface InngestVariables {
	INNGEST_SIGNING_KEY?: string;
	INNGEST_SIGNING_KEY_FALLBACK?: string;
	INNGEST_ENV?: string;
	/** An address, or `1` for the one of the dev server. */
	INNGEST_DEV?: string;
	INNGEST_BASE_URL?: string;
	INNGEST_API_BASE_URL?: string;
}

const CLOUD = 'https://api.inngest.com';
const DEV_SERVER = 'http://localhost:8288';

/** @returns what the object needs of an Inngest client, made from the variables of its Worker. */
export function inngestOf(env: unknown): InngestClient {
	const variables = (env ?? {}) as InngestVariables;
	const { INNGEST_SIGNING_KEY: key, INNGEST_SIGNING_KEY_FALLBACK: fallback } = variables;
	const api = {
		hashedKey: undefined as string | undefined,
		hashedFallbackKey: undefined as string | undefined,
		fetch: (...args: Parameters<typeof fetch>) => fetch(...args),
		async getTargetUrl(path: string): Promise<URL> {
			api.hashedKey ??= key && (await hashKey(key));
			api.hashedFallbackKey ??= fallback && (await hashKey(fallback));
			return new URL(path, addressOf(variables));
		}
	};
	const client = { id: 'realtime-hub', env: variables.INNGEST_ENV ?? null, inngestApi: api };
	return client;
}

function addressOf({
	INNGEST_DEV: dev,
	INNGEST_API_BASE_URL: api,
	INNGEST_BASE_URL: base
}: InngestVariables): string {
	if (api || base) return (api || base)!;
	if (!dev || dev === '0' || dev === 'false') return CLOUD;
	return /^https?:/.test(dev) ? dev : DEV_SERVER;
}

/** The hash under which Inngest knows a signing key: of the bytes that its hexadecimal part stands for. */
async function hashKey(key: string): Promise<string> {
	const prefix = /^signkey-\w+-/.exec(key)?.[0] ?? '';
	const bytes = (key.slice(prefix.length).match(/../g) ?? []).map((pair) => parseInt(pair, 16));
	const hash = await crypto.subtle.digest('SHA-256', new Uint8Array(bytes));
	const hex = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0'));
	return prefix + hex.join('');
}
