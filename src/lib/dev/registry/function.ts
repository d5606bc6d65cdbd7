import { z } from 'zod';
import { uuidOf } from '../ids.js';
import type { Warnings } from '../warnings.js';
import { parseExpression } from './expression.js';
import type { Expression } from './expression.js';

const DEFAULT_RETRIES = 4;
const MAX_RETRIES = 20;
const MAX_TRIGGERS = 10;
const MAX_CANCELLATIONS = 5;

/** Settings that a run here goes without. */
const IGNORED = [
	'batchEvents',
	'concurrency',
	'debounce',
	'idempotency',
	'priority',
	'rateLimit',
	'singleton',
	'throttle',
	'timeouts'
] as const;

const trigger = z.looseObject({
	event: z.string().min(1).max(512).nullish(),
	expression: z.string().nullish(),
	cron: z.string().nullish()
});

/** A function as the SDK registers it. */
export const registeredFunction = z.looseObject({
	id: z.string().min(1),
	name: z.string().min(1, 'A function name is required'),
	triggers: z.array(trigger).max(MAX_TRIGGERS).nullish(),
	cancel: z
		.array(z.looseObject({ event: z.string(), if: z.string().nullish() }))
		.max(MAX_CANCELLATIONS)
		.nullish(),
	retries: z.number().int().nullish(),
	steps: z.record(
		z.string(),
		z.looseObject({
			name: z.string().min(1, 'All steps must have a name'),
			runtime: z.looseObject({ url: z.url({ protocol: /^https?$/ }) }),
			retries: z.looseObject({ attempts: z.number().int() }).nullish()
		})
	)
});

/** An event that concerns a function, perhaps under a condition. */
export interface EventMatch {
	/** Name, or a prefix that ends in `/*` or `.*`. */
	event: string;
	condition?: Expression;
}

/** A function that an app serves. */
export interface DevFunction {
	/** The app's id and its own, joined by a dash. */
	id: string;
	uuid: string;
	name: string;
	/** Where it is called. */
	url: string;
	retries: number;
	triggers: EventMatch[];
	cancelOn: EventMatch[];
	/** What was registered. */
	config: unknown;
}

/**
 * The function in a registration.
 *
 * @throws {z.ZodError} when it is none.
 */
export function readFunction(value: unknown, warnings: Warnings): DevFunction {
	const config = registeredFunction.parse(value);
	const [step, ...others] = Object.values(config.steps);
	if (!step || others.length > 0) throw new Error('Functions must contain one step');
	for (const feature of IGNORED) {
		if (config[feature] === undefined || config[feature] === null) continue;
		warnings.unsupported(config.id, feature, 'it runs without');
	}
	const retries = step.retries?.attempts ?? config.retries ?? DEFAULT_RETRIES;
	return {
		id: config.id,
		uuid: uuidOf(`${step.runtime.url} ${config.id}`),
		name: config.name,
		url: step.runtime.url,
		retries: Math.min(retries, MAX_RETRIES),
		triggers: readTriggers(config, warnings),
		cancelOn: readCancellations(config, warnings),
		config: value
	};
}

/** Whether an event of this name is meant by a match. */
export function matchesName({ event }: EventMatch, name: string): boolean {
	if (event === name) return true;
	if (!event.endsWith('/*') && !event.endsWith('.*')) return false;
	return name.startsWith(event.slice(0, -1));
}

type Config = z.output<typeof registeredFunction>;

function readTriggers({ id, triggers }: Config, warnings: Warnings): EventMatch[] {
	const matches: EventMatch[] = [];
	for (const { event, expression, cron } of triggers ?? []) {
		if (Boolean(event) === Boolean(cron)) {
			throw new Error('A trigger must supply either an event name or a cron schedule');
		}
		if (!event) {
			warnings.unsupported(id, `the cron trigger "${cron}"`, 'it starts no runs');
			continue;
		}
		const condition = expression ? parseExpression(expression) : undefined;
		if (condition === null) {
			const feature = `the expression "${expression}"`;
			warnings.unsupported(id, feature, `"${event}" does not start it`);
		} else matches.push(condition ? { event, condition } : { event });
	}
	return matches;
}

function readCancellations({ id, cancel }: Config, warnings: Warnings): EventMatch[] {
	const matches: EventMatch[] = [];
	for (const { event, if: text, timeout } of cancel ?? []) {
		const condition = text ? parseExpression(text) : undefined;
		if (condition === null || timeout) {
			const feature = condition === null ? `the expression "${text}"` : 'a timeout in cancelOn';
			warnings.unsupported(id, feature, `"${event}" does not cancel its runs`);
		} else matches.push(condition ? { event, condition } : { event });
	}
	return matches;
}
