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

const dashboard = JSON.parse(read('grafana.json')) as {
	panels: { targets: { expr: string; legendFormat: string }[] }[];
};
const targets = dashboard.panels.flatMap((panel) => panel.targets);
const alerts = [...read('guides/operations.md').matchAll(/expr: (.*)/g)].map(([, expr]) => expr!);
const expressions = [...targets.map(({ expr }) => expr), ...alerts];

test('the dashboard and the alerts name metrics that exist', () => {
	const known = new Set(
		names.flatMap(({ name, type }) => (type === 'histogram' ? [`${name}_bucket`] : [name]))
	);
	expect(expressions.length).toBeGreaterThan(20);
	for (const expression of expressions) {
		const used = [...expression.matchAll(/realtime_\w+/g)].map(([name]) => name);
		expect(used, expression).not.toEqual([]);
		for (const name of used) expect(known, expression).toContain(name);
	}
});

/** The cells of the rows of the table of metrics, by the names in their first one. */
const rows = new Map<string, { labels: string; text: string }>(
	[...read('guides/operations.md').matchAll(/^\| (`.*?) \| (.*?) \| (.*?) \|$/gm)].flatMap(
		([, metrics, labels, text]) =>
			[...metrics!.matchAll(/`(\w+)`/g)].map(
				([, name]) => [`realtime_${name}`, { labels: labels!, text: text! }] as const
			)
	)
);

test('they use labels that these metrics have, and values that the table lists', () => {
	for (const expression of expressions) {
		const used = [...expression.matchAll(/realtime_\w+/g)].map(([name]) =>
			rows.get(name.replace(/_bucket$/, ''))!
		);
		const labels = `${used.map((row) => row.labels).join()} \`instance\` \`app\` \`le\``;
		for (const [, list] of expression.matchAll(/by \(([^)]*)\)/g)) {
			for (const label of list!.split(', ')) expect(labels, expression).toContain(`\`${label}\``);
		}
		for (const [, label, value] of expression.matchAll(/(\w+)=~?"([^"]*)"/g)) {
			expect(labels, expression).toContain(`\`${label}\``);
			for (const each of value!.split('|')) {
				expect(used.map(({ text }) => text).join(), expression).toContain(`\`${each}\``);
			}
		}
	}
	for (const { expr, legendFormat } of targets) {
		for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
			expect(expr, legendFormat).toMatch(new RegExp(`by \\([^)]*\\b${label}\\b`));
		}
	}
});

test('what is compared with each other has the same labels, so that an alert can fire', () => {
	const labelsOf = (part: string): string => /\bby \(([^)]*)\)/.exec(part)?.[1] ?? '';
	for (const alert of alerts) {
		const [left, on, right] = alert.split(/ (?:and|>)( on \([^)]*\))? (?=.*realtime_)/);
		if (right === undefined) continue;
		expect(labelsOf(right), alert).toBe(on ? /\((.*)\)/.exec(on)![1] : labelsOf(left!));
	}
});

test('the table of metrics is complete', () => {
	const table = read('guides/operations.md');
	for (const { name } of names) expect(table).toContain(`\`${name.replace('realtime_', '')}\``);
});
