import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { serialize } from '../../src/lib/prometheus/index.js';
import { createTestRealtime } from '../../src/lib/testing/index.js';
import { demoChannel } from '../support/channels.js';

const read = (name: string): string =>
	readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');

const realtime = createTestRealtime({
	channels: { demo: { channel: demoChannel, authorize: () => true } }
});
const names = [...serialize(realtime).matchAll(/^# TYPE (\S+) (\S+)/gm)].map(([, name, type]) => ({
	name: name!,
	type: type!
}));
realtime.close();

test('the dashboard and the alerts name metrics that exist', () => {
	const known = new Set(
		names.flatMap(({ name, type }) => (type === 'histogram' ? [`${name}_bucket`] : [name]))
	);
	const dashboard = JSON.parse(read('grafana.json')) as {
		panels: { targets: { expr: string }[] }[];
	};
	const expressions = [
		...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
		...[...read('guides/operations.md').matchAll(/expr: (.*)/g)].map(([, expr]) => expr!)
	];
	expect(expressions.length).toBeGreaterThan(20);
	for (const expression of expressions) {
		for (const [name] of expression.matchAll(/realtime_\w+/g)) {
			expect(known, expression).toContain(name);
		}
	}
});

test('the table of metrics is complete', () => {
	const table = read('guides/operations.md');
	for (const { name } of names) expect(table).toContain(`\`${name.replace('realtime_', '')}\``);
});
