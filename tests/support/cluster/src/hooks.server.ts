/** What the parent of the process says and hears over IPC, if there is one. */
import { note, realtime, room } from './realtime.js';

/** What the parent asks for: a message with a number, under a key. */
export interface EmitRequest {
	id: number;
	channel: string;
	n: number;
}

/** What became of it. */
export interface EmitAnswer {
	id: number;
	error?: string;
}

process.on('message', ({ id, channel, n }: EmitRequest) => {
	const [kind, name] = channel.split(':') as ['room' | 'note', string];
	const target = kind === 'room' ? room(name).emitted : note(name).emitted;
	realtime
		.emit(target, n, { key: `${channel} ${n}` })
		.then(
			(): EmitAnswer => ({ id }),
			(error: Error): EmitAnswer => ({ id, error: error.message })
		)
		.then((answer) => process.send?.(answer));
});
process.on('disconnect', () => process.exit());
