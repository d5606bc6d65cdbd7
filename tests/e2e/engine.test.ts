import { afterAll, beforeAll, expect, test } from 'vitest';
import { cause, findEngine } from '../../src/demo/server/engine.js';
import { startInngestDev } from '../../src/lib/dev/index.js';

/** Where the Vite plugin keeps the engine under `vite dev`. */
const KEY = Symbol.for('sveltekit-inngest.engine');

beforeAll(async () => {
	const shared = Promise.resolve({ engine: { own: await startInngestDev() } });
	Object.assign(globalThis, { [KEY]: shared });
});

afterAll(async () => (await findEngine())?.close());

test('two restarts at once leave one engine that answers', async () => {
	const { url } = (await findEngine())!;
	await Promise.all([cause('restart', `${url}/nowhere`), cause('restart', `${url}/nowhere`)]);
	expect((await findEngine())!.url).toBe(url);
	expect((await fetch(`${url}/dev`)).ok).toBe(true);
});
