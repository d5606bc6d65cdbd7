export {
	collect,
	type CollectOptions,
	type MetricRegister,
	type RegisteredMetric
} from './collect.js';
export type { MetricOptions } from './options.js';
export { CONTENT_TYPE, serialize } from './serialize.js';
