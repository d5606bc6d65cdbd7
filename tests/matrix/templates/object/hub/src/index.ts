import { createRealtimeHub } from 'sveltekit-inngest/cloudflare';

export class RealtimeHub extends createRealtimeHub() {}

export default { fetch: () => new Response('The realtime hub has no pages.', { status: 404 }) };
