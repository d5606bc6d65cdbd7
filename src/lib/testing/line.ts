/** Ends a lasting fault. */
export type EndFault = () => void;

/** The network between pages and a test endpoint: it carries bodies, until a test adds a fault. */
export class Line {
	/** Functions that break open bodies. */
	readonly #open = new Set<(error: Error) => void>();
	#delayMs = 0;
	/** Settles when the silence ends. */
	#silence: Promise<void> | undefined;

	/** Breaks all open bodies. */
	cut(): void {
		for (const fail of [...this.#open]) fail(new TypeError('network error'));
	}

	/** Holds back everything until it is ended. */
	silence(): EndFault {
		let end!: () => void;
		const silence = (this.#silence = new Promise((resolve) => (end = resolve)));
		return () => {
			if (this.#silence === silence) this.#silence = undefined;
			end();
		};
	}

	/** Delays each piece, and reads no further meanwhile. */
	slow(delayMs: number): EndFault {
		this.#delayMs = delayMs;
		return () => void (this.#delayMs = 0);
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
				if (this.#delayMs) await new Promise((resolve) => setTimeout(resolve, this.#delayMs));
				await this.#silence;
				// It may have been broken meanwhile.
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
}
