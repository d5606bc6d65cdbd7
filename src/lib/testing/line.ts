import { checkDelay, Faults, type EndFault } from './faults.js';

/** The network between pages and a test endpoint: it carries bodies, until a test adds a fault. */
export class Line {
	/** Functions that break open bodies. */
	readonly #open = new Set<(error: Error) => void>();
	readonly #delays = new Faults<number>();
	readonly #silences = new Faults<Promise<void>>();

	/** Breaks all open bodies. */
	cut(): void {
		for (const fail of [...this.#open]) fail(new TypeError('network error'));
	}

	/** Holds back everything until it is ended. */
	silence(): EndFault {
		let over!: () => void;
		const silence = new Promise<void>((resolve) => (over = resolve));
		return this.#silences.begin(silence, over);
	}

	/**
	 * Delays each piece, and reads no further meanwhile.
	 *
	 * @throws {RealtimeError} `INVALID_OPTION` when it is not a duration.
	 */
	slow(delayMs: number): EndFault {
		checkDelay(delayMs);
		return this.#delays.begin(delayMs);
	}

	/** The same body, controlled by `signal` and the faults. */
	carry(
		body: ReadableStream<Uint8Array>,
		signal: AbortSignal | undefined
	): ReadableStream<Uint8Array> {
		const reader = body.getReader();
		let fail: (error: Error) => void;
		const abort = (): void => fail(signal!.reason as Error);
		const end = (): void => {
			this.#open.delete(fail);
			signal?.removeEventListener('abort', abort);
		};
		return new ReadableStream({
			start: (controller) => {
				fail = (error) => {
					end();
					controller.error(error);
					void reader.cancel();
				};
				this.#open.add(fail);
				signal?.addEventListener('abort', abort);
				if (signal?.aborted) abort();
			},
			pull: async (controller) => {
				const { done, value } = await reader.read();
				await this.#passage();
				// It may have been broken off meanwhile.
				if (!this.#open.has(fail)) return;
				if (!done) return controller.enqueue(value);
				end();
				controller.close();
			},
			cancel() {
				end();
				return reader.cancel();
			}
		});
	}

	/** Resolves when what has been read may arrive. */
	async #passage(): Promise<void> {
		const delayMs = Math.max(0, ...this.#delays.active);
		if (delayMs) await new Promise((resolve) => setTimeout(resolve, delayMs));
		// Another silence may begin before this one is over.
		while (this.#silences.areOn) await this.#silences.active[0];
	}
}
