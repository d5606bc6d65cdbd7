import { realtime } from '../../realtime.js';

export const GET = (): Response =>
	Response.json(realtime.stats().streams, { status: realtime.ready() ? 200 : 503 });
