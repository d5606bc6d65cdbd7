import { RealtimeError } from '../../protocol/errors.js';
import type { Realtime, RealtimeEmit } from '../../server/index.js';
import type {
	SyncAction,
	SyncKey,
	SyncKeyOf,
	SyncServerRow,
	SyncValues,
	TableDefinition
} from '../shared/table.js';
import { TOPIC, type RowChange } from '../shared/wire.js';
import { announce, announceSome, type Announcement } from './announce.js';
import { audienceOf, type Audience } from './audience.js';
import { clock } from './clock.js';
import type { SyncOptions, SyncScopeContext, TableSync } from './define.js';
import { lockOf } from './locks.js';
import { isKey, outgoing } from './rows.js';

type TableOf<TSync extends TableSync> = TSync['table'];
type NameOf<TSync extends TableSync> = TableOf<TSync>['name'];
type Named<TSync extends TableSync, TName extends string> = TSync extends {
	table: { name: TName };
}
	? TableOf<TSync>
	: never;

/** A change that was made elsewhere: table, action, key, and what is known of the row. */
export type PublishedChange<TSync extends TableSync = TableSync> = {
	[TName in NameOf<TSync>]:
		| readonly [
				table: TName,
				action: 'create',
				key: SyncKeyOf<Named<TSync, TName>>,
				row: SyncServerRow<Named<TSync, TName>>
		  ]
		| readonly [
				table: TName,
				action: 'update',
				key: SyncKeyOf<Named<TSync, TName>>,
				changes: Partial<SyncServerRow<Named<TSync, TName>>>
		  ]
		| readonly [
				table: TName,
				action: 'delete',
				key: SyncKeyOf<Named<TSync, TName>>,
				row?: Partial<SyncServerRow<Named<TSync, TName>>>
		  ];
}[NameOf<TSync>];

/** Tells pages of changes that were not made by their events. */
export interface SyncPublisher<TSync extends TableSync> {
	/**
	 * Tells pages of one change. `scope` of the table is called with the key and the given values. If it throws or
	 * returns no ids, all pages that read the table fetch what changed. Handlers need not publish what they return.
	 *
	 * @throws {RealtimeError} `INVALID_OPTION` for a table that is not one of these, `INVALID_MESSAGE` when a
	 *   created row does not match the schema; and the errors of `emit`.
	 * @example
	 * ```ts
	 * await publisher.publish('todos', 'update', id, { done: true, ownerId });
	 * ```
	 */
	publish(...change: PublishedChange<TSync>): Promise<void>;
	/** Tells pages of several changes at once, in as few messages as possible. @throws the same errors as `publish`. */
	batch(changes: readonly PublishedChange<TSync>[]): Promise<void>;
}

/**
 * Tells pages of changes made elsewhere: in an Inngest function, a webhook, another program. Write the
 * database first.
 *
 * @param realtime What `createRealtime` returned for the same tables.
 * @param tables What `defineSync` returned.
 * @example
 * ```ts
 * const publisher = createPublisher(realtime, [todosSync]);
 * await publisher.publish('todos', 'delete', id, { ownerId });
 * ```
 */
export function createPublisher<const TSync extends TableSync>(
	{ emit }: Pick<Realtime, 'emit'>,
	tables: readonly TSync[]
): SyncPublisher<TSync> {
	const known = new Map<string, TableSync>(tables.map((sync) => [sync.table.name, sync]));
	const batch = async (changes: readonly PublishedChange[]): Promise<void> => {
		const byTable = new Map<TableSync, PublishedChange[]>();
		for (const change of changes) {
			const sync = known.get(change[0]);
			if (!sync) invalid(`Nothing was published: there is no table "${change[0]}" here.`);
			if (!isKey(change[2])) invalid(`Nothing was published: a row of "${change[0]}" has no key.`);
			byTable.set(sync, [...(byTable.get(sync) ?? []), change]);
		}
		for (const [sync, own] of byTable) await publishTo(emit, sync, own);
	};
	return {
		publish: (...change) => batch([change as unknown as PublishedChange]),
		batch: (changes) => batch(changes as unknown as readonly PublishedChange[])
	};
}

async function publishTo(
	emit: RealtimeEmit,
	{ table, options, channel, locks }: TableSync,
	changes: readonly PublishedChange[]
): Promise<void> {
	const topic = channel.topics[TOPIC];
	const { scope } = options as unknown as SyncOptions<TableDefinition>;
	const announcements: Announcement[] = [];
	let isVague = false;
	// At once: what is written from now on is newer.
	const stamps = changes.map(() => clock.tick());
	for (const [, , key] of changes) locks.touch(lockOf(key));
	for (const [index, [, action, key, values]] of changes.entries()) {
		const stamp = stamps[index]!;
		const known = { ...(values as SyncValues | undefined), [table.key]: key };
		const audience = await audienceFor(table, () => scope(NOBODY, action, known));
		if (!audience?.length) isVague = true;
		else {
			const change = await changeOf(table, stamp, action, key, known);
			announcements.push({ change, audience });
		}
	}
	await announce(emit, table, topic, announcements);
	if (isVague) await announceSome(emit, table, topic);
}

/** Who asks where there is no request. */
const NOBODY: SyncScopeContext = { locals: {} as App.Locals, event: null, identity: null };

/** @returns nothing where `scope` cannot tell. */
async function audienceFor(
	table: TableDefinition,
	ask: () => unknown
): Promise<Audience | undefined> {
	try {
		return audienceOf(table, (await ask()) as never);
	} catch {
		return undefined;
	}
}

async function changeOf(
	table: TableDefinition,
	stamp: string,
	action: SyncAction,
	key: SyncKey,
	known: SyncValues
): Promise<RowChange> {
	if (action === 'create') return { stamp, row: await outgoing(table, known) };
	return action === 'delete' ? { stamp, gone: key } : { stamp, key, fields: known };
}

function invalid(message: string): never {
	throw new RealtimeError('INVALID_OPTION', message);
}
