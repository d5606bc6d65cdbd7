import { getRequestEvent, query } from '$app/server';
import { messages, stats } from '$demo/server/live.js';

export const liveStats = query.live(stats);
export const liveMessages = query.live(() => messages(getRequestEvent()));
