import { realtime } from '$demo/server/realtime.js';

export const { GET, POST } = realtime;
