import type { RequestEvent } from '@sveltejs/kit';
import type { RealtimeHandlerContext } from '../../server/index.js';
import type { TopicRef } from '../../server/inngest/target.js';
import { callApp, CALLBACK_TIMEOUT_MS, CallbackError } from '../../server/failure/callback.js';
import type { SyncAction, SyncKey, SyncValues, TableDefinition } from '../shared/table.js';
import { RealtimeError } from '../../protocol/errors.js';
import { upgradeWrite } from '../shared/upgrade.js';
import {
	TOPIC,
	type RowRefusal,
	type RowResult,
	type RowWrite,
	type WriteAnswer,
	type WriteRequest
} from '../shared/wire.js';
import { announce, announceSome, type Announcement } from './announce.js';
import { audienceOf, isFor, scopesOf, type Audience } from './audience.js';
import { clock } from './clock.js';
import type { SyncContext, SyncOptions, SyncWriteContext, TableSync } from './define.js';
import { lockOf, type Locks } from './locks.js';
import { checkRow, outgoing } from './rows.js';

/** What is told to a page whose write is refused without a word. */
const REFUSED = 'Not allowed to change this row.';

/** One row that was written, as it is remembered until all of its write are. */
interface Written {
	/** Its version: it stays that of the moment when it was written, whenever it is told. */
	stamp: string;
	row: SyncValues | null;
	audience: Audience;
	before?: Audience;
}

type Handlers = SyncOptions<TableDefinition>;

/** Handles the writes of a table: validates, authorizes and runs each row, and tells the readers. */
export class Writes {
	readonly #table: TableDefinition;
	readonly #handlers: Handlers;
	readonly #topic: TopicRef['config'];
	readonly #locks: Locks;

	constructor({ table, options, channel, locks }: TableSync) {
		this.#table = table;
		this.#handlers = options as unknown as Handlers;
		this.#topic = channel.topics[TOPIC];
		this.#locks = locks;
	}

	/**
	 * Runs a write. Rows are refused one by one; when a handler fails, the whole event is tried again, and rows
	 * that were written keep their result.
	 */
	async run(
		context: RealtimeHandlerContext,
		action: SyncAction,
		{ stamp, rows }: WriteRequest
	): Promise<WriteAnswer> {
		const keys = new Set(rows.map(({ key }) => lockOf(key)));
		return this.#locks.hold([...keys], async (isTouched) => {
			const results: RowResult[] = [];
			const announcements: Announcement[] = [];
			const own = scopesOf(context.identity);
			for (const [index, write] of rows.entries()) {
				const runRow = (): Promise<Written | { refused: RowRefusal }> =>
					this.#row(context, action, write, clock.clamp(stamp));
				// A single row is run once with its event.
				const written =
					rows.length === 1
						? await runRow()
						: ((await context.once(`row ${index}`, runRow)) as Awaited<ReturnType<typeof runRow>>);
				if ('refused' in written) {
					results.push(written);
					continue;
				}
				const { row, audience, before, stamp: at } = written;
				results.push({ stamp: at, row: row && isFor(audience, own) ? row : null });
				announcements.push({
					change: row ? { stamp: at, row } : { stamp: at, gone: write.key },
					audience,
					before
				});
			}
			await announce(context.emit, this.#table, this.#topic, announcements);
			// Nobody knows whether what was published meanwhile was written before or after this.
			if (isTouched()) await announceSome(context.emit, this.#table, this.#topic);
			return { version: this.#table.version, results };
		});
	}

	async #row(
		context: RealtimeHandlerContext,
		action: SyncAction,
		write: RowWrite,
		writtenMs: number
	): Promise<Written | { refused: RowRefusal }> {
		const { key: keyField } = this.#table;
		let values: SyncValues = { [keyField]: write.key };
		if (action !== 'delete') {
			const checked = await checkRow(this.#table, write.row);
			if ('issues' in checked) {
				return {
					refused: { status: 422, message: 'The row is not valid.', issues: checked.issues }
				};
			}
			// A key that the schema changes would be another row.
			if (checked.row[keyField] !== write.key) {
				const issues = [{ message: 'The key must be that of the row', path: [keyField] }];
				return { refused: { status: 422, message: 'The row is not valid.', issues } };
			}
			values = action === 'create' ? checked.row : pick(checked.row, [keyField, ...write.fields!]);
		}
		const asked = contextOf(context);
		try {
			const allowed: unknown = await callApp('authorize', CALLBACK_TIMEOUT_MS, () =>
				this.#handlers.authorize(asked, action, values)
			);
			if (allowed !== true) return { refused: { status: 403, message: REFUSED } };
			let previous: unknown;
			const given: SyncWriteContext = {
				...asked,
				id: context.id,
				writtenAt: new Date(writtenMs),
				signal: context.signal,
				once: context.once,
				previous: (row) => void (previous = row)
			};
			const returned: unknown = await callApp('run', false, () =>
				this.#call(given, action, write.key, values)
			);
			// At once: what is written from now on is newer.
			const stamp = clock.tick();
			const before = await this.#before(asked, previous);
			if (action === 'delete') return { stamp, row: null, audience: before ?? 'all' };
			// For this writer there is no such row; others may have it.
			if (returned === null) return { stamp, row: null, audience: before ?? [] };
			const row = await outgoing(this.#table, returned ?? (action === 'create' ? values : null));
			if (row[keyField] !== write.key) {
				throw new RealtimeError(
					'INVALID_MESSAGE',
					`\`${action}\` of table "${this.#table.name}" returned a row with another key than that of the row that it was given.`
				);
			}
			const audience = await this.#audience(asked, action, returned ?? values);
			return { stamp, row, audience, ...(before && { before }) };
		} catch (error) {
			return { refused: refusalOf(error) };
		}
	}

	async #call(
		context: SyncWriteContext,
		action: SyncAction,
		key: SyncKey,
		values: SyncValues
	): Promise<unknown> {
		const { create, update, delete: remove } = this.#handlers;
		if (action === 'create') return create!(context, values);
		if (action === 'delete') return remove!(context, key);
		const changes = { ...values };
		delete changes[this.#table.key];
		return update!(context, key, changes);
	}

	/** Who had the row before, where the handler says so. */
	async #before(context: SyncContext, previous: unknown): Promise<Audience | undefined> {
		if (previous === undefined) return undefined;
		return previous === null ? [] : this.#audience(context, 'read', previous);
	}

	async #audience(
		context: SyncContext,
		action: 'read' | SyncAction,
		row: unknown
	): Promise<Audience> {
		return audienceOf(this.#table, await this.#handlers.scope(context, action, row as never));
	}
}

/** Steps that bring the writes of older pages to the present version of a table. */
export function upgradesOf(
	table: TableDefinition
): Record<number, (request: WriteRequest) => WriteRequest> {
	return Object.fromEntries(
		Object.keys(table.upgrade).map((version) => {
			const from = Number(version);
			const step = { ...table, version: from + 1 };
			return [
				from,
				({ stamp, rows }: WriteRequest): WriteRequest => ({
					stamp,
					rows: rows.map((write) => upgradeWrite(step, write, from)!)
				})
			];
		})
	);
}

/** What every handler of a table is given. */
export function contextOf({
	locals,
	event,
	identity,
	requestId
}: Pick<RealtimeHandlerContext, 'locals' | 'identity' | 'requestId'> & {
	event: RequestEvent;
}): SyncContext {
	return { locals, event, identity, requestId };
}

/** @throws what is no refusal. */
function refusalOf(error: unknown): RowRefusal {
	if (!(error instanceof CallbackError) || error.kind === 'timeout' || error.kind === 'fault') {
		throw error instanceof CallbackError ? error.cause : error;
	}
	const { status, message } = error.asFailure('event', { denied: REFUSED, fault: REFUSED });
	if (status >= 500) throw error.cause;
	return { status, message };
}

/** These fields of a row, as far as it has them. */
function pick(row: SyncValues, fields: readonly string[]): SyncValues {
	const known = fields.filter((field) => Object.hasOwn(row, field) && field !== '__proto__');
	return Object.fromEntries(known.map((field) => [field, row[field]]));
}
