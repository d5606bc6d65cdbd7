import { Inngest as Inngest3 } from 'inngest';
import { Inngest as Inngest4 } from 'inngest4';
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { createRealtime } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';

const clients = { 'inngest 3': Inngest3, 'inngest 4': Inngest4 };
const KEY = 'signkey-test-12345678';
const FALLBACK = 'signkey-test-9abcdef0';

/** What Inngest is sent for a signing key: its hash, under the prefix of its kind. */
const bearer = (key: string): string => {
	const secret = key.slice('signkey-test-'.length);
	return `Bearer signkey-test-${createHash('sha256').update(secret, 'hex').digest('hex')}`;
};

afterEach(() => vi.unstubAllEnvs());

interface Asked {
	url: string;
	authorization: string | null;
	env: string | null;
}

/** Token requests of a client that is made with `options`, answered with these statuses in turn. */
async function ask(
	Client: typeof Inngest3 | typeof Inngest4,
	options: { baseUrl?: string; isDev?: boolean; env?: string } = {},
	statuses: number[] = [500]
): Promise<Asked[]> {
	const asked: Asked[] = [];
	const inngest = new (Client as typeof Inngest3)({
		id: 'sdk',
		...options,
		fetch: async (input: unknown, init?: RequestInit) => {
			const headers = new Headers(init?.headers);
			const url = String(input);
			// A client of inngest 3 looks first whether a dev server is there.
			if (url.endsWith('/dev')) return Response.json({});
			asked.push({
				url,
				authorization: headers.get('authorization'),
				env: headers.get('x-inngest-env')
			});
			return new Response('scripted', { status: statuses[asked.length - 1] ?? 500 });
		}
	});
	const realtime = createRealtime({
		inngest,
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		onFailure: () => {}
	});
	await expect(realtime.subscribe(demoChannel).next()).rejects.toMatchObject({ code: 'UPSTREAM' });
	realtime.close();
	return asked;
}

describe.each(Object.entries(clients))('a client of %s', (_name, Client) => {
	test('in the cloud asks the public API with its hashed signing key', async () => {
		vi.stubEnv('INNGEST_SIGNING_KEY', KEY);
		const [asked] = await ask(Client, { isDev: false });
		expect(asked).toEqual({
			url: 'https://api.inngest.com/v1/realtime/token',
			authorization: bearer(KEY),
			env: null
		});
	});

	test.each([401, 403])('asks again with its fallback key after %i', async (status) => {
		vi.stubEnv('INNGEST_SIGNING_KEY', KEY);
		vi.stubEnv('INNGEST_SIGNING_KEY_FALLBACK', FALLBACK);
		const asked = await ask(Client, { isDev: false }, [status, 500]);
		expect(asked.map(({ authorization }) => authorization)).toEqual([
			bearer(KEY),
			bearer(FALLBACK)
		]);
	});

	test('does not try its fallback key after any other failure', async () => {
		vi.stubEnv('INNGEST_SIGNING_KEY', KEY);
		vi.stubEnv('INNGEST_SIGNING_KEY_FALLBACK', FALLBACK);
		expect(await ask(Client, { isDev: false }, [500])).toHaveLength(1);
	});

	test('names its environment', async () => {
		vi.stubEnv('INNGEST_SIGNING_KEY', KEY);
		const [asked] = await ask(Client, { isDev: false, env: 'branch/one' });
		expect(asked?.env).toBe('branch/one');
	});

	test('in dev mode asks the dev server, without a key', async () => {
		const [asked] = await ask(Client, { isDev: true });
		expect(asked?.url).toMatch(/^http:\/\/(localhost|127\.0\.0\.1):8288\/v1\/realtime\/token$/);
		expect(asked?.authorization).toBeNull();
	});

	test('goes where INNGEST_DEV says', async () => {
		vi.stubEnv('INNGEST_DEV', 'http://127.0.0.1:9999');
		const [asked] = await ask(Client);
		expect(asked?.url).toBe('http://127.0.0.1:9999/v1/realtime/token');
	});

	test('goes where its own base URL says', async () => {
		vi.stubEnv('INNGEST_DEV', 'http://127.0.0.1:9999');
		const [asked] = await ask(Client, { baseUrl: 'https://inngest.example.com' });
		expect(asked?.url).toBe('https://inngest.example.com/v1/realtime/token');
	});
});
