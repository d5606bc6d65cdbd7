import type { RequestEvent } from '@sveltejs/kit';
import { z } from 'zod';
import { parseCursor } from '../../protocol/cursor.js';
import { MAX_BODY_BYTES, MAX_TIMER_MS } from '../../protocol/constants.js';
import type { AnswerRequest, PresenceRequest } from '../../protocol/presence.js';
import type {
	HistoryRequest,
	RealtimeRequestParams,
	SubscriptionRequest
} from '../../protocol/request.js';
import { quoted } from '../../protocol/quote.js';
import { isDeeperThan } from '../runtime/depth.js';
import { Failure } from '../failure/failure.js';
import { readBody, tooLarge } from './body.js';

/** Limits on what a browser may send. */
export interface RequestLimits {
	maxSubscriptions: number;
	/** Topics of one subscription. */
	maxTopics: number;
	maxHistory: number;
	maxNameLength: number;
}

/** How many times more topics a request may name than one subscription. */
const TOPICS_OF_REQUEST = 10;

/**
 * Most bytes that a cursor adds to its subscription: `,"lastEventId":"…"` with a cursor of 80 characters. The
 * client adds them, not the page, so they do not count.
 */
const CURSOR_BYTES = 128;

/** A parsed request for a stream. */
export interface ParsedRequest {
	kind: 'stream';
	subscriptions: SubscriptionRequest[];
	/** Whether it names a single channel. If so, errors are HTTP errors. */
	isSingle: boolean;
}

/** What the body of a POST asks for: each kind has a field of that name. */
export type ParsedBody =
	| ParsedRequest
	| { kind: 'event'; event: { event: unknown } }
	| { kind: 'read'; read: HistoryRequest }
	| { kind: 'presence'; presence: PresenceRequest }
	| { kind: 'answer'; answer: AnswerRequest };

/** Turns everything but primitives into `null`. */
const paramValue = z.union([z.string(), z.number(), z.boolean(), z.null()]).catch(null);

const LIMIT = 'limit must be a positive whole number';

const HISTORY = 'history must be a positive whole number';

const subscriptionSchema = z.object({
	channel: z.string({ error: 'Missing channel' }).min(1, 'Missing channel'),
	topics: z.array(z.string().min(1)).min(1, 'Topics must not be an empty list').optional(),
	params: z.record(z.string(), paramValue).optional(),
	lastEventId: z.string().optional(),
	since: z.string().optional(),
	history: z
		.number({ error: HISTORY })
		.int({ error: HISTORY })
		.positive({ error: HISTORY })
		.optional()
});

const cursor = z.string().refine((text) => parseCursor(text) !== null, {
	error: '`before` must be a cursor'
});

const cursorOrDate = z.string().refine(isCursorOrDate, {
	error: '`since` must be a cursor or a date in ISO 8601'
});

const historySchema = subscriptionSchema
	.pick({ channel: true, topics: true, params: true })
	.extend({
		since: cursorOrDate.optional(),
		before: cursor.optional(),
		limit: z.number({ error: LIMIT }).int({ error: LIMIT }).positive({ error: LIMIT }).optional()
	});

const presenceSchema = z.object({
	stream: z.string(),
	data: z.record(z.string(), z.unknown()).optional(),
	ttlMs: z.number().positive().max(MAX_TIMER_MS).optional(),
	reset: z.boolean().optional(),
	sync: z.boolean().optional()
});

const answerSchema = z.union([
	z.object({ id: z.string(), error: z.string() }),
	z.object({ id: z.string(), data: z.unknown() })
]);

const manySchema = z.object({
	subscriptions: z.array(subscriptionSchema).min(1, 'Subscriptions must not be an empty list')
});

/**
 * Refuses a request from a page of another site: it would act with the cookies of this one.
 *
 * @throws {Failure} `request-validation` 403.
 */
export function checkSite(request: Request): void {
	if (request.headers.get('sec-fetch-site') !== 'cross-site') return;
	throw new Failure('request-validation', 403, 'Cross-site streams are not allowed');
}

/** Deepest nesting of the data that a page sends about itself. */
const MAX_DEPTH = 64;

/**
 * Reads the body of a POST.
 *
 * @throws {Failure} `request-validation` 400 or 408, or `admission` 400 or 413.
 */
export async function parsePost(event: RequestEvent, limits: RequestLimits): Promise<ParsedBody> {
	const { request } = event;
	const { text, bytes } = await readBody(
		event,
		MAX_BODY_BYTES + limits.maxSubscriptions * CURSOR_BYTES
	);
	let body: unknown;
	try {
		body = JSON.parse(text);
	} catch {
		throw new Failure('request-validation', 400, 'Invalid JSON body');
	}
	// A request with subscriptions is a stream, even if it has other fields.
	if (isKind(body, 'event') && !isKind(body, 'channel') && !isKind(body, 'subscriptions')) {
		checkBytes(bytes, []);
		return { kind: 'event', event: body };
	}
	if (isKind(body, 'read')) {
		checkBytes(bytes, []);
		const { since, before, limit, ...named } = checked(historySchema, body.read);
		const { channel, topics, params } = normalize(named, limits);
		return {
			kind: 'read',
			read: {
				channel,
				...(topics && { topics }),
				...(params && { params }),
				...(since !== undefined && { since }),
				...(before !== undefined && { before }),
				...(limit !== undefined && { limit: Math.min(limit, limits.maxHistory) })
			}
		};
	}
	if (isKind(body, 'presence')) {
		checkBytes(bytes, []);
		checkDepth(body.presence);
		return {
			kind: 'presence',
			presence: checked(presenceSchema, body.presence) as PresenceRequest
		};
	}
	if (isKind(body, 'answer')) {
		checkBytes(bytes, []);
		checkDepth(body.answer);
		return { kind: 'answer', answer: checked(answerSchema, body.answer) };
	}
	if (!isKind(body, 'subscriptions')) {
		const subscription = checked(subscriptionSchema, body);
		checkBytes(bytes, [subscription]);
		return single({ ...subscription, lastEventId: lastEventId(request, subscription) }, limits);
	}
	const { subscriptions: raw } = body;
	if (Array.isArray(raw) && raw.length > limits.maxSubscriptions) {
		throw new Failure(
			'admission',
			400,
			`A request may have at most ${limits.maxSubscriptions} subscriptions; this one has ${raw.length}.`
		);
	}
	const subscriptions = checked(manySchema, body).subscriptions.map((subscription) =>
		normalize(subscription, limits)
	);
	checkBytes(bytes, subscriptions);
	const topics = subscriptions.reduce((sum, { topics = [] }) => sum + topics.length, 0);
	const maxTopics = limits.maxTopics * TOPICS_OF_REQUEST;
	if (topics > maxTopics) {
		throw new Failure(
			'admission',
			400,
			`A request may name at most ${maxTopics} topics; this one names ${topics}.`
		);
	}
	const channels = new Set(subscriptions.map(({ channel }) => channel));
	if (channels.size < subscriptions.length) {
		throw new Failure('request-validation', 400, 'A channel must not be subscribed to twice');
	}
	return { kind: 'stream', subscriptions, isSingle: false };
}

/**
 * Reads the query of a GET: `?channel=…&topic=a&topic=b&param.x=1`, and `since=…` or `history=10`.
 *
 * @throws {Failure} `request-validation` 400, or `admission` 400.
 */
export function parseGet(request: Request, url: URL, limits: RequestLimits): ParsedRequest {
	const history = url.searchParams.get('history');
	const topics = url.searchParams.getAll('topic');
	const params: RealtimeRequestParams = Object.fromEntries(
		[...url.searchParams]
			.filter(([name]) => name.startsWith('param.'))
			.map(([name, value]) => [name.slice('param.'.length), value])
	);
	const subscription = checked(subscriptionSchema, {
		channel: url.searchParams.get('channel') ?? undefined,
		...(topics.length > 0 && { topics }),
		params,
		lastEventId: url.searchParams.get('lastEventId') ?? undefined,
		since: url.searchParams.get('since') ?? undefined,
		history: history === null ? undefined : Number(history)
	});
	return single({ ...subscription, lastEventId: lastEventId(request, subscription) }, limits);
}

/** A date has two hyphens or more; a cursor never has. */
const DATE = /^\d{4}-\d\d-\d\d(T|$)/;

/** Whether a text is a date in ISO 8601. */
export function isDate(text: string): boolean {
	return DATE.test(text) && !Number.isNaN(Date.parse(text));
}

function isCursorOrDate(text: string): boolean {
	return isDate(text) || parseCursor(text) !== null;
}

type Checked = z.infer<typeof subscriptionSchema>;

function single(subscription: Checked, limits: RequestLimits): ParsedRequest {
	return { kind: 'stream', subscriptions: [normalize(subscription, limits)], isSingle: true };
}

/** Whether a body has the field of this kind. */
function isKind<TKind extends string>(body: unknown, kind: TKind): body is Record<TKind, unknown> {
	return typeof body === 'object' && body !== null && Object.hasOwn(body, kind);
}

/** Checks a subscription against the limits. */
function normalize(subscription: Checked, limits: RequestLimits): SubscriptionRequest {
	const { channel, params = {}, lastEventId, since, history } = subscription;
	const topics = subscription.topics && [...new Set(subscription.topics)].sort();
	if (since !== undefined && history !== undefined) {
		throw new Failure(
			'request-validation',
			400,
			`A subscription starts either at \`since\` or with \`history\`; ${quoted(channel)} has both`
		);
	}
	checkNames([channel, ...(topics ?? []), ...Object.keys(params)], limits.maxNameLength);
	// The client adds cursors by itself: a low limit for names must not stop a page from resuming.
	checkNames([lastEventId ?? '', since ?? ''], Math.max(limits.maxNameLength, CURSOR_BYTES));
	if (topics && topics.length > limits.maxTopics) {
		throw new Failure(
			'admission',
			400,
			`A subscription may name at most ${limits.maxTopics} topics; that of ${quoted(channel)} names ${topics.length}.`
		);
	}
	return {
		channel,
		...(topics && { topics }),
		params,
		...(lastEventId !== undefined && { lastEventId }),
		...(since !== undefined && { since }),
		...(history !== undefined && { history: Math.min(history, limits.maxHistory) })
	};
}

/** The cursor that an `EventSource` sends when it reconnects is newer than the one the page started with. */
function lastEventId(request: Request, { lastEventId }: Checked): string | undefined {
	return request.headers.get('last-event-id') ?? lastEventId;
}

function checked<T>(schema: z.ZodType<T>, value: unknown): T {
	const result = schema.safeParse(value);
	if (result.success) return result.data;
	const { path, message } = result.error.issues[0]!;
	const isNamed = path.length === 0 || (path.length === 1 && !message.startsWith('Invalid'));
	const where = isNamed ? '' : ` (at ${path.join('.')})`;
	throw new Failure('request-validation', 400, message + where);
}

function checkNames(names: readonly string[], maxLength: number): void {
	const name = names.find(({ length }) => length > maxLength);
	if (name === undefined) return;
	throw new Failure(
		'admission',
		400,
		`A name in this request has ${name.length} characters; at most ${maxLength} are allowed.`
	);
}

/**
 * @throws {Failure} `request-validation` 400 for a body nested so deeply that walking it would overflow the
 * stack.
 */
function checkDepth(value: unknown): void {
	if (!isDeeperThan(MAX_DEPTH, value)) return;
	throw new Failure(
		'request-validation',
		400,
		`The body is nested more than ${MAX_DEPTH} levels deep`
	);
}

/** A request that was accepted once must also be accepted with its cursors, so they do not count. */
function checkBytes(
	bytes: number,
	subscriptions: readonly Pick<SubscriptionRequest, 'lastEventId'>[]
): void {
	const cursorBytes = subscriptions.reduce(
		(sum, { lastEventId }) =>
			sum + (lastEventId === undefined ? 0 : ',"lastEventId":""'.length + lastEventId.length),
		0
	);
	if (bytes - cursorBytes > MAX_BODY_BYTES) throw tooLarge();
}
