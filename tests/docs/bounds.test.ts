import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ROOT } from './support/markdown.js';

/** What the code says of each row: the file, and what stands before the number. */
const CODE: Record<string, [file: string, before: string]> = {
	'limits.maxSubscriptions': ['protocol/constants.ts', 'MAX_SUBSCRIPTIONS = '],
	'limits.maxTopics': ['server/options.ts', 'maxTopics: '],
	'limits.maxNameLength': ['server/options.ts', 'maxNameLength: '],
	'Characters in a cursor': ['server/access/request.ts', 'CURSOR_BYTES = '],
	'Bytes of a request body': ['protocol/constants.ts', 'MAX_BODY_BYTES = '],
	'limits.maxHistory': ['server/options.ts', 'maxHistory: '],
	'limits.maxStarting': ['server/options.ts', 'maxStarting: '],
	'limits.maxEvents': ['server/options.ts', 'maxEvents: '],
	'limits.maxBufferedBytes': ['server/options.ts', 'maxBufferedBytes: '],
	'Bytes of a message as JSON': ['server/inngest/outgoing.ts', 'MAX_MESSAGE_BYTES = '],
	'replay.maxEvents': ['server/backend/memory.ts', 'options.maxEvents ?? '],
	'replay.maxAgeMs': ['server/backend/memory.ts', 'options.maxAgeMs ?? '],
	'replay.maxBytes': ['server/backend/memory.ts', 'options.maxBytes ?? '],
	'Topics that the hub listens to': ['server/inngest/upstream.ts', 'MAX_TOPICS = '],
	maxWarmFeeds: ['server/hub/hub.ts', 'MAX_WARM_FEEDS = '],
	'Keys of `emit()`': ['server/hub/feed.ts', 'MAX_EMITTED = '],
	'wait for a slow store': ['server/hub/log.ts', 'MAX_WAITING = '],
	'wait for an asynchronous schema': ['server/hub/validation.ts', 'MAX_WAITING = '],
	'wait for a consumer': ['server/subscribe.ts', 'MAX_WAITING = '],
	'Messages of `history()`': ['server/history.ts', 'MAX_LIMIT = '],
	'a handler may run': ['server/events/events.ts', 'RUN_TIMEOUT_MS = '],
	"an event's data": ['server/events/request.ts', 'MAX_DEPTH = '],
	'a synced table': ['sync/outbox/parts.ts', 'MAX_BYTES = '],
	'lists as emitted': ['server/events/events.ts', 'MAX_EMITTED = '],
	'Problems that an answer lists': ['server/events/events.ts', 'MAX_ISSUES = '],
	"a member's page": ['server/presence/presence.ts', 'SILENT_MS = '],
	"a member's data": ['server/presence/presence.ts', 'MAX_DATA_BYTES = '],
	graceMs: ['server/presence/options.ts', 'DEFAULT_GRACE_MS = '],
	'`ask()`': ['server/people.ts', 'ASK_TIMEOUT_MS = '],
	'limits of rates': ['server/backend/memoryRateLimit.ts', 'MAX_KEYS = '],
	callbackTimeoutMs: ['server/failure/callback.ts', 'CALLBACK_TIMEOUT_MS = '],
	'A call to Redis or Postgres': ['server/backend/guard.ts', 'BACKEND_TIMEOUT_MS = '],
	'A call to a Durable Object': ['cloudflare/backend.ts', 'timeoutMs = '],
	'listens to Redis': ['redis/backend.ts', 'heartbeatMs = '],
	'listens to Postgres': ['postgres/line.ts', 'HEARTBEAT_MS = '],
	'`drain()`': ['server/createRealtime.ts', 'DRAIN_MS = '],
	'a replay store of your own': ['server/backend/guard.ts', 'STORE_TIMEOUT_MS = '],
	'`cursor()`': ['server/cursor.ts', 'LIVE_TIMEOUT_MS = '],
	'A token request': ['server/inngest/token.ts', 'TIMEOUT_MS = '],
	'Opening a socket': ['server/inngest/socket.ts', 'CONNECT_TIMEOUT_MS = '],
	'Silence of a socket': ['server/inngest/session.ts', 'SILENCE_MS = '],
	'attempts to reach Inngest': ['server/inngest/retry.ts', 'MAX_DELAY_MS = '],
	'healthCheck.intervalMs': ['protocol/constants.ts', 'DEFAULT_INTERVAL_MS = '],
	'Silence of a stream': ['client/transport/stream.ts', 'SILENT_INTERVALS = '],
	'`Retry-After` that a page': ['client/transport/request.ts', 'MAX_RETRY_AFTER_MS = ']
};

/** A number as the code writes it: with underscores, or as a product. */
const value = (text: string): number =>
	text.split('*').reduce((product, factor) => product * Number(factor.replaceAll('_', '')), 1);

const rows = readFileSync(`${ROOT}docs/bounds.md`, 'utf8')
	.split('\n')
	.filter((line) => line.startsWith('| '))
	.map((line) => line.split('|').map((cell) => cell.trim()));

test.each(Object.entries(CODE))('%s is what the code says', (name, [file, before]) => {
	const found = rows.filter(([, bound = '']) => bound.includes(name));
	expect(found, name).toHaveLength(1);
	const documented = Number(/[\d,.]+/.exec(found[0]![2]!)![0].replaceAll(',', ''));
	const code = readFileSync(`${ROOT}src/lib/${file}`, 'utf8');
	const at = code.search(new RegExp(`(?<![A-Z_])${before.replace(/[.?]/g, '\\$&')}`));
	expect(at, `${file}: ${before}`).toBeGreaterThan(0);
	expect(value(/^[\d_* .]+/.exec(code.slice(at + before.length))![0])).toBe(documented);
});
