import { realtime } from '$lib/endpoint.js';
import { CONTENT_TYPE, serialize } from 'sveltekit-inngest/prometheus/index.js';

export const GET = () =>
	new Response(serialize(realtime), { headers: { 'content-type': CONTENT_TYPE } });
