import { Clock } from '../shared/clock.js';

/** The clock of this process: all versions of rows are counted by it. */
export const clock = /* @__PURE__ */ new Clock(
	Math.random().toString(36).slice(2, 10).padEnd(8, '0')
);
