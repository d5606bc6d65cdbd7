import { backoffMs } from '../protocol/backoff.js';
import type { Line } from './wire.js';

/** Pause before a broken line is opened again: at first up to this long, in milliseconds. */
const MIN_PAUSE_MS = 50;
const MAX_PAUSE_MS = 2_000;

/** How long, in milliseconds, an object may take to begin a line. */
const OPEN_TIMEOUT_MS = 10_000;

/** Signs of life that may be missing before a line counts as broken. */
const MISSED_BEATS = 2.5;

/** What a line tells its owner; nothing after `close`. None of these may throw. */
export interface LineEvents {
	line(line: Line): void;
	/** The line broke, or could not be opened. It is opened again. */
	broken(error: Error): void;
}

/**
 * The stream of what is listened to, in the isolate: opened again when it breaks or falls silent. It
 * belongs to the request that opened it.
 *
 * @param open Asks the object.
 * @returns a function that ends it.
 */
export function openLine(
	open: (signal: AbortSignal) => Promise<Response>,
	events: LineEvents
): () => void {
	let isClosed = false;
	let failures = 0;
	let pause: ReturnType<typeof setTimeout> | undefined;
	let abort: AbortController | undefined;

	async function read(): Promise<void> {
		const own = (abort = new AbortController());
		// Not all runtimes end a body with its signal.
		let cut!: (error: Error) => void;
		const broken = new Promise<never>((_, reject) => (cut = reject));
		broken.catch(() => {});
		own.signal.addEventListener('abort', () => cut(new Error('The line was closed.')));
		let silence: ReturnType<typeof setTimeout> | undefined;
		const expectLife = (withinMs: number): void => {
			clearTimeout(silence);
			silence = setTimeout(() => cut(new Error(`Nothing came within ${withinMs} ms.`)), withinMs);
		};
		let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
		try {
			expectLife(OPEN_TIMEOUT_MS);
			const response = await Promise.race([open(own.signal), broken]);
			if (!response.ok || !response.body) {
				throw new Error(`The object answered with ${response.status}.`);
			}
			reader = response.body.getReader();
			const decoder = new TextDecoder();
			let text = '';
			let lifeMs = Infinity;
			for (;;) {
				const { done, value } = await Promise.race([reader.read(), broken]);
				if (done) throw new Error('The object ended the line.');
				text += decoder.decode(value, { stream: true });
				const lines = text.split('\n');
				text = lines.pop()!;
				for (const json of lines) {
					if (json === '' || isClosed) continue;
					const line = JSON.parse(json) as Line;
					if (line.type === 'live') {
						failures = 0;
						lifeMs = line.heartbeatMs * MISSED_BEATS;
					}
					events.line(line);
				}
				clearTimeout(silence);
				if (lifeMs !== Infinity) expectLife(lifeMs);
			}
		} finally {
			clearTimeout(silence);
			own.abort();
			reader?.cancel().catch(() => {});
		}
	}

	async function run(): Promise<void> {
		while (!isClosed) {
			try {
				await read();
			} catch (error) {
				if (isClosed) return;
				events.broken(error as Error);
			}
			await new Promise<void>((resolve) => {
				pause = setTimeout(resolve, backoffMs(failures++, MIN_PAUSE_MS, MAX_PAUSE_MS));
			});
		}
	}

	void run();
	return () => {
		isClosed = true;
		clearTimeout(pause);
		abort?.abort();
	};
}
