import type { RealtimeEmit } from '../../server/emit.js';
import type { TopicRef } from '../../server/inngest/target.js';
import { markOf } from '../shared/mark.js';
import type { TableDefinition } from '../shared/table.js';
import { channelName, TOPIC, type ChangeMessage, type RowChange } from '../shared/wire.js';
import type { Audience } from './audience.js';

/** A change, who receives the row, and who had it before where that is known. */
export interface Announcement {
	change: RowChange;
	audience: Audience;
	/** Who had it before. */
	before?: Audience | undefined;
}

/** Most bytes, about, of one message. */
const MAX_BYTES = 256 * 1024;

/**
 * Tells readers what changed: the row to those who receive it, its key to those who had it and do not any
 * more. Who had it is unknown where nobody says: then everybody who reads the table is told the key.
 */
export async function announce(
	emit: RealtimeEmit,
	table: TableDefinition,
	topic: TopicRef['config'],
	announcements: readonly Announcement[]
): Promise<void> {
	const rows = new Map<string, RowChange[]>();
	const gone = new Map<string, RowChange[]>();
	for (const { change, audience, before } of announcements) {
		for (const scope of targets(audience)) add(rows, scope, change);
		if (audience === 'all' || 'gone' in change) continue;
		const { stamp } = change;
		const except = audience.map((scope) => markOf(scope, stamp));
		const word = { stamp, gone: keyOf(table, change), except };
		for (const scope of targets(before ?? 'all')) {
			if (!audience.includes(scope)) add(gone, scope, word);
		}
	}
	for (const [scope, changes] of [...rows, ...gone]) {
		for (const part of parts(changes)) {
			const message: ChangeMessage = { version: table.version, changes: part };
			await emit({ channel: channelName(table, scope), topic: TOPIC, config: topic }, message);
		}
	}
}

/** Tells all who read the table that something changed, and not what: they fetch it. */
export async function announceSome(
	emit: RealtimeEmit,
	table: TableDefinition,
	topic: TopicRef['config']
): Promise<void> {
	const message: ChangeMessage = { version: table.version, changes: [] };
	await emit({ channel: channelName(table), topic: TOPIC, config: topic }, message);
}

function add(changes: Map<string, RowChange[]>, scope: string, change: RowChange): void {
	changes.set(scope, [...(changes.get(scope) ?? []), change]);
}

/** Scopes of the channels that reach an audience. */
function targets(audience: Audience): readonly string[] {
	return audience === 'all' ? [''] : audience;
}

function keyOf({ key }: TableDefinition, change: RowChange): string | number {
	if ('gone' in change) return change.gone;
	return 'row' in change ? (change.row[key] as string) : change.key;
}

function parts(changes: readonly RowChange[]): RowChange[][] {
	const found: RowChange[][] = [];
	let bytes = Infinity;
	for (const change of changes) {
		const size = JSON.stringify(change).length;
		if (bytes + size > MAX_BYTES) {
			found.push([]);
			bytes = 0;
		}
		found.at(-1)!.push(change);
		bytes += size;
	}
	return found;
}
