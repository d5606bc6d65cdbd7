import type { Realtime } from '../server/index.js';
import { checkNames, DEFAULT_PREFIX, type MetricOptions } from './options.js';

/** The media type of the text that `serialize` returns. */
export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * The metrics of an endpoint in Prometheus's text format, for a route of your own if the app has no
 * metrics library. Serve it with `CONTENT_TYPE`, and not to everybody. The texts of several endpoints make
 * one text if each has its own `prefix`.
 *
 * @throws {RealtimeError} `INVALID_OPTION` when Prometheus does not accept a name or a label.
 * @example
 * ```ts
 * // src/routes/metrics/+server.ts
 * export const GET = () =>
 *   new Response(serialize(realtime), { headers: { 'content-type': CONTENT_TYPE } });
 * ```
 */
export function serialize(
	realtime: Pick<Realtime, 'metrics'>,
	options: MetricOptions = {}
): string {
	const { prefix = DEFAULT_PREFIX, labels: extra = {} } = options;
	checkNames(options);
	const lines = realtime
		.metrics()
		.flatMap(({ name, help, type, samples }) => [
			`# HELP ${prefix}${name} ${escapeHelp(help)}`,
			`# TYPE ${prefix}${name} ${type}`,
			...samples.map(
				({ suffix, labels, value }) =>
					`${prefix}${name}${suffix}${formatLabels({ ...extra, ...labels })} ${value}`
			)
		]);
	return `${lines.join('\n')}\n`;
}

function formatLabels(labels: Record<string, string>): string {
	const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeValue(value)}"`);
	return parts.length > 0 ? `{${parts.join(',')}}` : '';
}

function escapeHelp(text: string): string {
	return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function escapeValue(text: string): string {
	return escapeHelp(text).replaceAll('"', '\\"');
}
