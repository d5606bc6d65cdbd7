import type { RequestEvent } from '@sveltejs/kit';
import { RealtimeError } from '../../protocol/errors.js';
import { defineEvent, type EventDefinition } from '../../protocol/event.js';
import type { RealtimeChannelConfig, RealtimeEventConfig } from '../../server/index.js';
import type { RealtimeHandlerContext } from '../../server/index.js';
import type { SyncAction, TableDefinition } from '../shared/table.js';
import { channelName, eventName, type FetchRequest } from '../shared/wire.js';
import { scopesOf } from './audience.js';
import { scopeOf, type TableChannel } from './channel.js';
import type { SyncOptions, TableSync } from './define.js';
import { fetchPage } from './fetches.js';
import { fetchSchema, writeSchema } from './requests.js';
import { contextOf, upgradesOf, Writes } from './writes.js';

/** What synced tables add to an endpoint: spread it into `channels` and `events` of `createRealtime`. */
export interface SyncedTables {
	channels: Record<string, RealtimeChannelConfig<TableChannel>>;
	events: Record<string, RealtimeEventConfig<EventDefinition, RealtimeHandlerContext>>;
}

const ACTIONS: readonly SyncAction[] = ['create', 'update', 'delete'];

/** How long, in milliseconds, the answer to a fetch is remembered: nobody asks for it again. */
const FETCH_TTL_MS = 1;

/**
 * What serves synced tables: a channel entry per table, an event per kind of write that it has a handler for,
 * and one that fetches.
 *
 * @throws {RealtimeError} `INVALID_OPTION` when two tables have the same name.
 * @example
 * ```ts
 * const tables = syncTables([todosSync]);
 * export const { GET, POST } = createRealtime({
 *   inngest,
 *   identify: ({ locals }) => locals.user,
 *   channels: { ...tables.channels },
 *   events: { ...tables.events }
 * });
 * ```
 */
export function syncTables(tables: readonly TableSync[]): SyncedTables {
	const channels: SyncedTables['channels'] = {};
	const events: SyncedTables['events'] = {};
	for (const sync of tables) {
		const { table, channel } = sync;
		const name = channelName(table);
		if (name in channels) {
			throw new RealtimeError(
				'INVALID_OPTION',
				`Two tables are called "${table.name}"; rename one.`
			);
		}
		channels[name] = {
			channel,
			channelParams: (_event: RequestEvent, requested: string) => scopeOf(table, requested),
			source: false,
			async authorize({ event, locals, identity, channelId }) {
				const scope = scopeOf(table, channelId);
				if (scope !== '' && !scopesOf(identity).includes(scope)) return false;
				const requestId = event.request.headers.get('x-request-id') ?? '';
				return handlersOf(sync).authorize({ locals, event, identity, requestId }, 'read');
			}
		};
		events[eventName(table, 'fetch')] = {
			event: defineEvent(eventName(table, 'fetch'), {
				schema: fetchSchema,
				version: table.version
			}),
			dedupeMs: FETCH_TTL_MS,
			authorize: (context) => handlersOf(sync).authorize(contextOf(context), 'read'),
			run: (context, range) => fetchPage(sync, context, range as FetchRequest)
		};
		const writes = new Writes(sync);
		for (const action of ACTIONS) {
			if (!handlersOf(sync)[action]) continue;
			const event = defineEvent(eventName(table, action), {
				schema: writeSchema(action),
				version: table.version
			});
			const config: RealtimeEventConfig<typeof event, RealtimeHandlerContext> = {
				event,
				upgrade: upgradesOf(table),
				// Each row is authorized by itself.
				authorize: () => true,
				run: (context, request) => writes.run(context, action, request)
			};
			events[event.name] = config as unknown as SyncedTables['events'][string];
		}
	}
	return { channels, events };
}

function handlersOf({ options }: TableSync): SyncOptions<TableDefinition> {
	return options as unknown as SyncOptions<TableDefinition>;
}
