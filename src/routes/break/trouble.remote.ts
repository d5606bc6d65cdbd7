import { query } from '$app/server';
import { trouble } from '$demo/server/live.js';

export const liveTrouble = query.live(trouble);
