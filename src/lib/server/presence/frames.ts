import { EVENT } from '../../protocol/constants.js';
import { encodeEvent } from '../../protocol/frame.js';
import type { PresenceMember } from '../backend/presence.js';

/** A change of what readers of a channel see. */
export interface ShownChange {
	id: string;
	was: PresenceMember | undefined;
	is: PresenceMember | undefined;
}

/** Frames of changes, each one encoding for all readers: at most one for each type of change. */
export function changeFrames(channel: string, changes: readonly ShownChange[]): Uint8Array[] {
	const left: string[] = [];
	const joined: string[] = [];
	const updated: string[] = [];
	for (const { id, was, is } of changes) {
		const isSame = was && is && was.joinedAt === is.joinedAt;
		if (was && !isSame) left.push(JSON.stringify(id));
		if (is && !isSame) joined.push(memberJson(is));
		if (isSame) updated.push(...updateJson(was, is));
	}
	return [
		...(left.length > 0 ? [frame(channel, 'leave', `"ids":[${left.join()}]`)] : []),
		...(joined.length > 0 ? [frame(channel, 'join', `"members":[${joined.join()}]`)] : []),
		...(updated.length > 0 ? [frame(channel, 'update', `"members":[${updated.join()}]`)] : [])
	];
}

const encoder = new TextEncoder();

/** A `sync`: its head is each reader's own, the list of members is encoded once for all. */
export class SyncFrame {
	readonly #members: Uint8Array;

	constructor(members: Iterable<PresenceMember>) {
		const list = [...members].sort((a, b) => a.joinedAt - b.joinedAt).map(memberJson);
		this.#members = encoder.encode(`"members":[${list.join()}]}\n\n`);
	}

	/** @returns the parts of the frame, to be written one after the other. */
	partsFor(head: Record<string, unknown>): [Uint8Array, Uint8Array] {
		const text = JSON.stringify({ ...head, type: 'sync' });
		return [encoder.encode(`event: ${EVENT.presence}\ndata: ${text.slice(0, -1)},`), this.#members];
	}
}

function frame(channel: string, type: string, rest: string): Uint8Array {
	return encodeEvent(
		EVENT.presence,
		`{"channel":${JSON.stringify(channel)},"type":"${type}",${rest}}`
	);
}

function memberJson({ id, data, streams, joinedAt }: PresenceMember): string {
	return `{"id":${JSON.stringify(id)},"data":${data},"streams":${streams},"joinedAt":${joinedAt}}`;
}

function updateJson(was: PresenceMember, is: PresenceMember): string[] {
	const fields = [
		...(was.data === is.data ? [] : [`"data":${is.data}`]),
		...(was.streams === is.streams ? [] : [`"streams":${is.streams}`])
	];
	return fields.length === 0 ? [] : [`{"id":${JSON.stringify(is.id)},${fields.join()}}`];
}
