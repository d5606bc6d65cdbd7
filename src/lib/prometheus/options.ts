import { RealtimeError } from '../protocol/errors.js';

/** How metrics are named. */
export interface MetricOptions {
	/** What all names begin with. @default 'realtime_' */
	prefix?: string;
	/** Labels that every sample gets: the name of the app, say. @default none */
	labels?: Record<string, string>;
}

export const DEFAULT_PREFIX = 'realtime_';

/** @throws {RealtimeError} `INVALID_OPTION` for names that Prometheus does not take. */
export function checkNames({ prefix = DEFAULT_PREFIX, labels = {} }: MetricOptions): void {
	if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(prefix)) {
		throw new RealtimeError(
			'INVALID_OPTION',
			`\`prefix\` is ${JSON.stringify(prefix)}: use letters, digits and "_", and begin with a letter.`
		);
	}
	for (const name of Object.keys(labels)) {
		if (/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) && !name.startsWith('__')) continue;
		throw new RealtimeError(
			'INVALID_OPTION',
			`${JSON.stringify(name)} is no name of a label: use letters, digits and "_", and begin with a letter.`
		);
	}
}
