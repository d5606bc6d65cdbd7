import { expect, test, vi } from 'vitest';
import { render } from 'vitest-browser-svelte';
import { demo } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import Harness from '../support/client/Harness.svelte';

vi.mock('$app/paths', () => ({ resolve: (path: string) => `/below${path}` }));

test.each([
	[{}, '/below/api/events'],
	[{ endpoint: '/other' }, '/other']
])("the default endpoint is below SvelteKit's base path", async (props, url) => {
	const endpoint = new FakeEndpoint();
	const setup = () => () => '';
	const subscriptions = [{ channel: demo }];
	await render(Harness, { subscriptions, fetch: endpoint.fetch, setup, ...props });
	expect(endpoint.last.url).toBe(url);
});
