import { encode, timestamp } from '../gojson.js';
import type { Message } from '../realtime/message.js';
import { MAX_MESSAGE_BYTES } from '../realtime/publish.js';
import type { Run } from './run.js';

const RUN_TOPIC = '$run';
const MAX_CHANNELS = 1_000;

/**
 * Publishes how runs fare, on the topic `$run` of each channel that a run publishes to and of the
 * channel that has its id as its name: `{ status: 'running' }` before the run's first message there,
 * and `{ status, result }` or `{ status, error }` at its end.
 */
export class RunLifecycle {
	readonly #publish: (message: Message) => void;

	constructor(publish: (message: Message) => void) {
		this.#publish = publish;
	}

	started(run: Run): void {
		this.publishes(run, run.id);
	}

	/** The run is about to publish to a channel. */
	publishes(run: Run, channel: string): void {
		if (run.outcome || run.channels.has(channel) || run.channels.size >= MAX_CHANNELS) return;
		run.channels.add(channel);
		this.#announce(run, channel, { status: 'running' });
	}

	ended(run: Run): void {
		for (const channel of run.channels) this.#announce(run, channel, describe(run));
	}

	#announce(run: Run, channel: string, state: { status: string }): void {
		const data = Buffer.from(encode(state));
		this.#publish({
			kind: 'run',
			channel,
			topic: RUN_TOPIC,
			// A result that no message can carry is left out.
			data: data.length <= MAX_MESSAGE_BYTES ? data : Buffer.from(encode({ status: state.status })),
			createdAt: timestamp(),
			runId: run.id
		});
	}
}

function describe({ outcome }: Run): { status: string; result?: unknown; error?: unknown } {
	if (outcome?.status === 'Completed') return { status: 'completed', result: outcome.output };
	if (outcome?.status === 'Failed') {
		const { name, message } = outcome.error;
		return { status: 'failed', error: { name, message } };
	}
	return { status: 'cancelled' };
}
