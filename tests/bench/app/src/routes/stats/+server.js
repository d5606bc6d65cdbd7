import { json } from '@sveltejs/kit';
import { realtime } from '$lib/endpoint.js';

export const GET = () => json(realtime.stats());
