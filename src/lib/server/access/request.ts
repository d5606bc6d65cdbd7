import { z } from 'zod';
import { MAX_BODY_BYTES } from '../../protocol/constants.js';
import type { RealtimeRequestParams, SubscriptionRequest } from '../../protocol/request.js';
import { Failure, thrownStatus } from '../failure/failure.js';

/** Bounds of what a browser may send. */
export interface RequestLimits {
	maxSubscriptions: number;
	maxNameLength: number;
}

/** A request as it was understood. */
export interface ParsedRequest {
	subscriptions: SubscriptionRequest[];
	/** Whether it named one channel, and is answered with HTTP errors. */
	isSingle: boolean;
}

/** Anything but a primitive becomes `null`. */
const paramValue = z.union([z.string(), z.number(), z.boolean(), z.null()]).catch(null);

const subscriptionSchema = z.object({
	channel: z.string({ error: 'Missing channel' }).min(1, 'Missing channel'),
	topics: z.array(z.string().min(1)).min(1, 'Topics must not be an empty list').optional(),
	params: z.record(z.string(), paramValue).optional(),
	lastEventId: z.string().optional(),
	since: z.string().optional(),
	history: z.number().int().positive().optional()
});

const manySchema = z.object({
	subscriptions: z.array(subscriptionSchema).min(1, 'Subscriptions must not be an empty list')
});

/**
 * Reads the body of a POST.
 *
 * @throws {Failure} `request-validation` 400, or `admission` 400 or 413.
 */
export async function parsePost(request: Request, limits: RequestLimits): Promise<ParsedRequest> {
	const text = await readBody(request);
	let body: unknown;
	try {
		body = JSON.parse(text);
	} catch {
		throw new Failure('request-validation', 400, 'Invalid JSON body');
	}
	if (typeof body !== 'object' || body === null || !('subscriptions' in body)) {
		const subscription = checked(subscriptionSchema, body);
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
	const subscriptions = checked(manySchema, body).subscriptions.map(normalize);
	for (const subscription of subscriptions) checkNames(subscription, limits);
	const channels = new Set(subscriptions.map(({ channel }) => channel));
	if (channels.size < subscriptions.length) {
		throw new Failure('request-validation', 400, 'A channel must not be subscribed to twice');
	}
	return { subscriptions, isSingle: false };
}

/**
 * Reads the query of a GET: `?channel=…&topic=a&topic=b&param.x=1`.
 *
 * @throws {Failure} `request-validation` 400 or 403, or `admission` 400.
 */
export function parseGet(request: Request, url: URL, limits: RequestLimits): ParsedRequest {
	if (request.headers.get('sec-fetch-site') === 'cross-site') {
		// A page of another site must not read streams with the cookies of this one.
		throw new Failure('request-validation', 403, 'Cross-site streams are not allowed');
	}
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
		lastEventId: url.searchParams.get('lastEventId') ?? undefined
	});
	return single({ ...subscription, lastEventId: lastEventId(request, subscription) }, limits);
}

type Checked = z.infer<typeof subscriptionSchema>;

function single(subscription: Checked, limits: RequestLimits): ParsedRequest {
	const normalized = normalize(subscription);
	checkNames(normalized, limits);
	return { subscriptions: [normalized], isSingle: true };
}

function normalize({
	channel,
	topics,
	params,
	lastEventId,
	since,
	history
}: Checked): SubscriptionRequest {
	return {
		channel,
		...(topics && { topics: [...new Set(topics)].sort() }),
		params: params ?? {},
		...(lastEventId !== undefined && { lastEventId }),
		...(since !== undefined && { since }),
		...(history !== undefined && { history })
	};
}

/** What an `EventSource` sends when it reconnects is newer than what the page began with. */
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

function checkNames(subscription: SubscriptionRequest, { maxNameLength }: RequestLimits): void {
	const { channel, topics = [], params = {}, lastEventId = '' } = subscription;
	for (const name of [channel, lastEventId, ...topics, ...Object.keys(params)]) {
		if (name.length <= maxNameLength) continue;
		throw new Failure(
			'admission',
			400,
			`A name in this request has ${name.length} characters; at most ${maxNameLength} are allowed.`
		);
	}
}

/** What is read of a body, so that a client that is still writing it gets to read the answer. */
const MAX_READ_BYTES = 16 * MAX_BODY_BYTES;

async function readBody(request: Request): Promise<string> {
	if (Number(request.headers.get('content-length')) > MAX_READ_BYTES) throw tooLarge();
	if (!request.body) return '';
	const decoder = new TextDecoder();
	const reader = request.body.getReader();
	let bytes = 0;
	let text = '';
	try {
		for (;;) {
			const { done, value } = await reader.read();
			if (done) break;
			bytes += value.byteLength;
			if (bytes <= MAX_BODY_BYTES) text += decoder.decode(value, { stream: true });
			else if (bytes > MAX_READ_BYTES) throw tooLarge();
		}
	} catch (error) {
		if (error instanceof Failure) throw error;
		// SvelteKit's adapters have a limit of their own.
		if (thrownStatus(error, 400) === 413) throw tooLarge();
		throw new Failure('request-validation', 400, 'The request body could not be read', {
			cause: error
		});
	} finally {
		reader.cancel().catch(() => {});
	}
	if (bytes > MAX_BODY_BYTES) throw tooLarge();
	return text + decoder.decode();
}

function tooLarge(): Failure {
	return new Failure('admission', 413, `A request body may have at most ${MAX_BODY_BYTES} bytes.`);
}
