import { encode, timestamp } from '../gojson.js';
import type { Message } from '../realtime/message.js';
import { MAX_MESSAGE_BYTES } from '../realtime/publish.js';
import type { Run } from './run.js';

const RUN_TOPIC = '$run';
const MAX_CHANNELS = 1_000;
const RUNNING = Buffer.from(encode({ status: 'running' }));

/**
 * Publishes the states of runs, on the topic `$run` of each channel that a run publishes to and of the
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
		this.#announce(run, channel, RUNNING);
	}

	ended(run: Run): void {
		const state = describe(run);
		const whole = Buffer.from(encode(state));
		// A result that does not fit into a message is left out.
		const data =
			whole.length <= MAX_MESSAGE_BYTES ? whole : Buffer.from(encode({ status: state.status }));
		for (const channel of run.channels) this.#announce(run, channel, data);
	}

	#announce(run: Run, channel: string, data: Buffer): void {
		const createdAt = timestamp();
		this.#publish({ kind: 'run', channel, topic: RUN_TOPIC, data, createdAt, runId: run.id });
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
