import { realtime } from '../../../lib/realtime.js';

export const { GET, POST } = realtime;
