import { RealtimeError } from '../../protocol/errors.js';
import type { RealtimeIdentity } from '../../server/access/identity.js';
import type { TableDefinition } from '../shared/table.js';
import type { SyncScope } from './define.js';

/** Who receives a row: everybody, or the ids of users and teams. */
export type Audience = 'all' | readonly string[];

/** Longest id of a user or team. */
const MAX_ID = 256;

/** The ids whose rows a reader receives: its own, and those of its teams. */
export function scopesOf(identity: RealtimeIdentity | null): string[] {
	if (!identity) return [];
	const { id, teams } = identity;
	const all = [id, ...(Array.isArray(teams) ? (teams as unknown[]) : [])];
	return [...new Set(all.filter(isId))].sort();
}

/** @throws {RealtimeError} `INVALID_OPTION` for what is no answer of `scope`. */
export function audienceOf({ name }: TableDefinition, scope: SyncScope): Audience {
	if (scope === 'all') return 'all';
	const ids = typeof scope === 'string' ? [scope] : scope;
	if (Array.isArray(ids) && ids.every(isId)) return [...new Set(ids as string[])];
	throw new RealtimeError(
		'INVALID_OPTION',
		`\`scope\` of table "${name}" must answer 'all' or ids of users or teams, not ${JSON.stringify(scope)}.`
	);
}

/** Whether somebody with these ids is in an audience. */
export function isFor(audience: Audience, scopes: readonly string[]): boolean {
	return audience === 'all' || audience.some((id) => scopes.includes(id));
}

function isId(value: unknown): value is string {
	return typeof value === 'string' && value !== '' && value.length <= MAX_ID;
}
