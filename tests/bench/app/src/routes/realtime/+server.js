import { realtime } from '$lib/endpoint.js';

export const { POST } = realtime;
