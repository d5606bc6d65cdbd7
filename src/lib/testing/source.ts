import type {
	RealtimeSource,
	SourceListener,
	SourceMessage,
	SourceState
} from '../server/hub/source.js';

/** A source without a network. The test says what it delivers, and when it is lost. */
export class TestSource implements RealtimeSource {
	readonly name = 'test';
	readonly #listeners = new Set<SourceListener>();
	#lost: Error | undefined;
	#count = 0;

	get state(): SourceState {
		return this.#lost ? 'waiting' : 'open';
	}

	get sockets(): number {
		return this.#lost ? 0 : 1;
	}

	listen(listener: SourceListener): () => void {
		this.#listeners.add(listener);
		if (this.#lost) listener.failed(this.#lost);
		else listener.live();
		return () => this.#listeners.delete(listener);
	}

	/** Delivers a message to everybody who listens to its topic; to nobody while the source is lost. */
	deliver(channel: string, topic: string, data: unknown): void {
		if (this.#lost) return;
		const key = `test\n${++this.#count}`;
		const message: SourceMessage = {
			kind: 'data',
			channel,
			topic,
			data,
			runId: undefined,
			fnId: undefined,
			envId: undefined,
			createdAt: new Date().toISOString(),
			streamId: undefined,
			key: () => key
		};
		for (const listener of [...this.#listeners]) {
			if (listener.channel === channel && listener.topics.includes(topic)) {
				listener.message(message);
			}
		}
	}

	lose(reason: string): void {
		if (this.#lost) return;
		this.#lost = new Error(reason);
		for (const listener of [...this.#listeners]) listener.lost(this.#lost);
	}

	restore(): void {
		if (!this.#lost) return;
		this.#lost = undefined;
		for (const listener of [...this.#listeners]) listener.live();
	}

	close(): void {
		this.#listeners.clear();
	}
}
