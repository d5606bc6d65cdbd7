import { realtime } from '../../realtime.js';

export const { GET, POST } = realtime;
