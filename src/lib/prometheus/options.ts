import { RealtimeError } from '../protocol/errors.js';

/** How metrics are named. */
export interface MetricOptions {
	/** The beginning of all names; may be empty. @default 'realtime_' */
	prefix?: string;
	/** Labels for every sample, such as the name of the app. `le` cannot be used. @default none */
	labels?: Record<string, string>;
}

export const DEFAULT_PREFIX = 'realtime_';

/** @throws {RealtimeError} `INVALID_OPTION` when Prometheus does not accept a name or a label. */
export function checkNames({ prefix = DEFAULT_PREFIX, labels = {} }: MetricOptions): void {
	if (!/^([a-zA-Z_:][a-zA-Z0-9_:]*)?$/.test(prefix)) {
		throw new RealtimeError(
			'INVALID_OPTION',
			`\`prefix\` is ${JSON.stringify(prefix)}: use letters, digits and "_", and begin with a letter.`
		);
	}
	for (const [name, value] of Object.entries(labels)) {
		// `le` names the buckets of histograms.
		if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) || name.startsWith('__') || name === 'le') {
			throw new RealtimeError(
				'INVALID_OPTION',
				`${JSON.stringify(name)} cannot be the name of a label: use letters, digits and "_", begin with a letter, and do not use "le".`
			);
		}
		if (typeof value === 'string') continue;
		throw new RealtimeError(
			'INVALID_OPTION',
			`\`labels.${name}\` must be a string, not ${String(value)}.`
		);
	}
}
