import type { RealtimeSource } from './source.js';

/** The source of channels that only `emit` feeds: always live, and without a connection. */
export const emitOnlySource: RealtimeSource = {
	name: 'emit',
	state: 'open',
	sockets: 0,
	listen(listener) {
		listener.live();
		return () => {};
	},
	close() {}
};
