import { z } from 'zod';
import { CronError, CronSchedule } from '../cron.js';
import { parseDuration } from '../duration.js';
import { ExpressionError } from '../expressions/check.js';
import type { Policy } from '../expressions/check.js';
import { Expression } from '../expressions/expression.js';
import { uuidOf } from '../ids.js';
import type { Warnings } from '../warnings.js';
import { checkSupport } from './unsupported.js';

const DEFAULT_RETRIES = 4;
const MAX_RETRIES = 20;
const MAX_TRIGGERS = 10;
const MAX_CANCELLATIONS = 5;
const MAX_EVENT_NAME = 255;
const MAX_JITTER_MS = 5 * 60_000;

const limit = z.union([z.number(), z.looseObject({ key: z.string().nullish() })]);

const trigger = z.looseObject({
	event: z.string().max(MAX_EVENT_NAME).nullish(),
	expression: z.string().nullish(),
	cron: z.string().nullish(),
	jitter: z.string().nullish()
});

/** A function as the SDK registers it. */
const registeredFunction = z.looseObject({
	id: z.string().min(1),
	name: z.string().min(1, 'A function name is required'),
	triggers: z.array(trigger).max(MAX_TRIGGERS).nullish(),
	cancel: z
		.array(
			z.looseObject({ event: z.string(), if: z.string().nullish(), timeout: z.string().nullish() })
		)
		.max(MAX_CANCELLATIONS)
		.nullish(),
	retries: z.number().int().nullish(),
	priority: z.looseObject({ run: z.string().nullish() }).nullish(),
	concurrency: z.union([limit, z.array(limit)]).nullish(),
	debounce: z.looseObject({ period: z.string().refine(isDuration, 'is not a duration') }).nullish(),
	steps: z.record(
		z.string(),
		z.looseObject({
			name: z.string().min(1, 'All steps must have a name'),
			runtime: z.looseObject({ url: z.url({ protocol: /^https?$/ }) }),
			retries: z.looseObject({ attempts: z.number().int() }).nullish()
		})
	)
});

/** An event that concerns a function, with an optional condition. */
export interface EventMatch {
	/** Name, or a prefix that ends in `/*` or `.*`. */
	event: string;
	condition?: Expression;
}

/** An event that cancels a function's runs. */
export interface Cancellation extends EventMatch {
	/** How long after a run's start the event can cancel it, in milliseconds. @default forever */
	timeoutMs?: number;
}

/** A function that an app serves. */
export interface DevFunction {
	/** The app's id and the function's id, joined by a dash. */
	id: string;
	uuid: string;
	appUuid: string;
	name: string;
	/** The URL where it is called. */
	url: string;
	retries: number;
	triggers: EventMatch[];
	crons: CronSchedule[];
	cancelOn: Cancellation[];
	/** The registered function. */
	config: unknown;
}

/**
 * Reads a function of a registration.
 *
 * @throws {z.ZodError} or another error when it is invalid.
 * @throws {UnsupportedError} when the engine cannot run it.
 */
export function readFunction(value: unknown, appUuid: string, warnings: Warnings): DevFunction {
	const config = registeredFunction.parse(value);
	const [step, ...others] = Object.values(config.steps);
	if (!step || others.length > 0) throw new Error('Functions must contain one step');
	const { triggers, crons } = readTriggers(config);
	const cancelOn = (config.cancel ?? []).map(readCancellation);
	checkKeys(config);
	checkSupport(config, warnings);
	const retries = step.retries?.attempts ?? config.retries ?? DEFAULT_RETRIES;
	return {
		id: config.id,
		// It does not depend on the URL: an app may come back at another port while its functions run.
		uuid: uuidOf(config.id),
		appUuid,
		name: config.name,
		url: step.runtime.url,
		retries: Math.min(retries, MAX_RETRIES),
		triggers,
		crons,
		cancelOn,
		config: value
	};
}

/** Whether an event with this name matches. */
export function matchesName({ event }: EventMatch, name: string): boolean {
	if (event === name) return true;
	if (!event.endsWith('/*') && !event.endsWith('.*')) return false;
	return name.startsWith(event.slice(0, -1));
}

type Config = z.output<typeof registeredFunction>;

function readTriggers({ triggers }: Config): Pick<DevFunction, 'triggers' | 'crons'> {
	const matches: EventMatch[] = [];
	const crons: CronSchedule[] = [];
	const seen = new Set<string>();
	for (const { event, expression, cron, jitter } of triggers ?? []) {
		if (Boolean(event) === Boolean(cron)) {
			throw new Error('A trigger must have either an event name or a cron schedule');
		}
		const key = JSON.stringify(event ? [event, expression] : cron);
		if (seen.has(key)) throw new Error(`The trigger "${event ?? cron}" occurs twice`);
		seen.add(key);
		if (event) matches.push(readMatch(event, expression));
		else crons.push(readCron(cron!, jitter));
	}
	return { triggers: matches, crons };
}

function readMatch(event: string, expression?: string | null, policy?: Policy): EventMatch {
	return expression ? { event, condition: readExpression(expression, policy) } : { event };
}

function readExpression(text: string, policy?: Policy): Expression {
	try {
		return new Expression(text, policy);
	} catch (error) {
		if (!(error instanceof ExpressionError)) throw error;
		throw new Error(`The expression "${text}" is invalid: ${error.message}`, { cause: error });
	}
}

function readCron(text: string, jitter?: string | null): CronSchedule {
	const jitterMs = parseDuration(jitter ?? '');
	if (jitterMs === undefined || jitterMs > MAX_JITTER_MS) {
		throw new Error(`"${jitter}" is not a duration of at most five minutes`);
	}
	try {
		return new CronSchedule(text);
	} catch (error) {
		if (!(error instanceof CronError)) throw error;
		throw new Error(`The cron schedule "${text}" is invalid: ${error.message}`, { cause: error });
	}
}

function readCancellation({
	event,
	if: expression,
	timeout
}: NonNullable<Config['cancel']>[number]): Cancellation {
	const match = readMatch(event, expression, 'logic');
	if (!timeout) return match;
	const timeoutMs = parseDuration(timeout);
	if (timeoutMs === undefined)
		throw new Error(`The timeout "${timeout}" of cancelOn is not a duration`);
	return { ...match, timeoutMs };
}

/** Refuses invalid expressions, even if the engine does not evaluate them. */
function checkKeys({ priority, concurrency }: Config): void {
	const limits = [concurrency]
		.flat()
		.map((limit) => (typeof limit === 'object' ? limit?.key : null));
	for (const text of [priority?.run, ...limits]) {
		if (text) readExpression(text);
	}
}

function isDuration(text: string): boolean {
	return text !== '' && parseDuration(text) !== undefined;
}
