import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import { HttpTransport } from '../../src/lib/client/transport/http.js';
import type { RealtimeClientFailureContext } from '../../src/lib/client/types.js';
import { demoChannel } from '../support/channels.js';
import { FakePage } from '../support/client/page.js';
import { serve, type Handlers } from '../support/server.js';

const cleanUp: (() => unknown)[] = [];
beforeEach(() => {
	const page = new FakePage();
	vi.stubGlobal('window', page.window);
	vi.stubGlobal('document', page.document);
});
afterEach(async () => {
	for (const end of cleanUp.splice(0).reverse()) await end();
	vi.unstubAllGlobals();
});

/** What a page hears first from a server that answers so. */
async function firstFailure(handlers: Handlers): Promise<RealtimeClientFailureContext> {
	const server = await serve(handlers);
	cleanUp.push(() => server.close());
	const subscriptions = resolveSubscriptions([{ channel: demoChannel }]);
	return new Promise((onFailure) => {
		const bus = new RealtimeBus({
			subscriptions: () => subscriptions,
			connect: (owner) => new HttpTransport(owner),
			settings: () => ({ onFailure })
		});
		cleanUp.push(() => bus.close());
		bus.update({ endpoint: server.url, subscriptions });
	});
}

test('an expired session that ends on a sign-in page is told from a fault', async () => {
	const failure = await firstFailure({
		POST: ({ url }) => Response.redirect(new URL('?login', url), 303),
		GET: () => new Response('<form>', { headers: { 'content-type': 'text/html' } })
	});
	expect(failure).toMatchObject({ source: 'request', status: 200, fatal: true });
	expect(failure.location).toMatch(/\?login$/);
	expect(failure.message).toContain(`redirected to ${failure.location}`);
});

test('a handle hook that answers with JSON is understood, as it is asked for', async () => {
	const failure = await firstFailure({
		POST: ({ request }) =>
			request.headers.get('accept')?.includes('application/json')
				? Response.json({ message: 'Please sign in' }, { status: 401 })
				: new Response('<h1>401</h1>', { status: 401 })
	});
	expect(failure).toMatchObject({ message: 'Please sign in', status: 401, fatal: true });
	expect(failure.location).toBeUndefined();
});
