import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ChannelBuilder } from '../../protocol/channel.js';
import type { TableDefinition } from '../shared/table.js';
import { channelName, TOPIC } from '../shared/wire.js';

/** What is sent was made by this package. */
const anything: StandardSchemaV1 = {
	'~standard': { version: 1, vendor: 'sveltekit-inngest', validate: (value) => ({ value }) }
};

/** The channels of a table: one for all who read it, and one for each scope. */
export type TableChannel = ChannelBuilder &
	((scope: string) => { name: string }) & { topics: { [TOPIC]: { schema: StandardSchemaV1 } } };

export function createTableChannel(table: TableDefinition): TableChannel {
	// A definition of its own, by which the registry tells it from those of other tables.
	const topics = { [TOPIC]: { schema: anything } };
	return Object.assign((scope: string) => ({ name: channelName(table, scope) }), { topics });
}

/** The scope that the name of a channel has; for names of other channels, one that leads elsewhere. */
export function scopeOf(table: TableDefinition, channel: string): string {
	const start = `${channelName(table)}:`;
	return channel.startsWith(start) ? channel.slice(start.length) : '';
}
