/** A `fetch` that can be cut, like a network. Its user sees the same failures. */
export class Line {
	#isUp = $state(true);
	#cutter = new AbortController();

	/** Whether requests get through. */
	get isUp(): boolean {
		return this.#isUp;
	}

	readonly fetch: typeof globalThis.fetch = async (input, init = {}) => {
		if (!this.#isUp) throw new TypeError('The line is down');
		init.signal?.throwIfAborted();
		// Not `AbortSignal.any`: WebKit may collect such a signal, and then the abort is lost.
		const request = new AbortController();
		const { signal } = request;
		for (const source of [this.#cutter.signal, init.signal]) {
			source?.addEventListener('abort', () => request.abort(source.reason), { once: true, signal });
		}
		const response = await globalThis.fetch(input, { ...init, signal });
		if (!response.body) return response;
		// The pipe cancels the body, so that the stream ends even if an abort alone does not end it.
		const { readable, writable } = new TransformStream();
		response.body.pipeTo(writable, { signal }).catch(() => {});
		return new Response(readable, response);
	};

	/** Ends all pending requests. */
	cut(): void {
		this.#cutter.abort(new TypeError('The line was cut'));
		this.#cutter = new AbortController();
	}

	takeDown(): void {
		this.#isUp = false;
		this.cut();
	}

	putUp(): void {
		this.#isUp = true;
	}
}
