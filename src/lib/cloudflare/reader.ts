import type { Line } from './wire.js';

/** Most bytes that may wait for one reader. A reader that does not keep up is ended, and comes back with its cursor. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

const encoder = new TextEncoder();

/** @returns the bytes of a line, made once for all readers. */
export function encodeLine(line: Line): Uint8Array {
	return encoder.encode(`${JSON.stringify(line)}\n`);
}

/** An empty line. */
export const SIGN_OF_LIFE: Uint8Array = encoder.encode('\n');

/** The stream of one listener, in the object. Only a write shows that its other end is gone. */
export class Reader {
	readonly body: ReadableStream<Uint8Array>;
	readonly #ended: () => void;
	#controller!: ReadableStreamDefaultController<Uint8Array>;
	#isEnded = false;

	/** @param ended Called once, whoever ends it. */
	constructor(ended: () => void) {
		this.#ended = ended;
		this.body = new ReadableStream<Uint8Array>(
			{
				start: (controller) => {
					this.#controller = controller;
				},
				cancel: () => this.#end()
			},
			new ByteLengthQueuingStrategy({ highWaterMark: MAX_WAITING_BYTES })
		);
	}

	write(bytes: Uint8Array): void {
		if (this.#isEnded) return;
		try {
			if (this.#controller.desiredSize! <= 0) this.end();
			else this.#controller.enqueue(bytes);
		} catch {
			this.#end();
		}
	}

	/** Ends the stream; its listener comes back. */
	end(): void {
		if (this.#isEnded) return;
		try {
			this.#controller.close();
		} catch {
			// Its other end was faster.
		}
		this.#end();
	}

	#end(): void {
		if (this.#isEnded) return;
		this.#isEnded = true;
		this.#ended();
	}
}
