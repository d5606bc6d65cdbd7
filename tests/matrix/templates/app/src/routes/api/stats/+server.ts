import { realtime } from '../../../lib/realtime.js';

export const GET = (): Response =>
	Response.json({ runtime: globalThis.navigator?.userAgent ?? 'Node.js/20', ...realtime.stats() });
