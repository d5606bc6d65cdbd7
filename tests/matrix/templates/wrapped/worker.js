import { createRealtimeHub } from 'sveltekit-inngest/cloudflare';

export { default } from './.svelte-kit/cloudflare/_worker.js';

export class RealtimeHub extends createRealtimeHub() {}
