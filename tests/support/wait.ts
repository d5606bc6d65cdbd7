import { setTimeout as delay } from 'node:timers/promises';

/** Resolves as soon as `condition` holds; for what no event tells. */
export async function eventually(
	condition: () => boolean | Promise<boolean>,
	what: string | (() => string) = 'a condition',
	timeoutMs = 20_000
): Promise<void> {
	const deadline = Date.now() + timeoutMs;
	while (!(await condition())) {
		if (Date.now() > deadline) {
			throw new Error(`Waited in vain for ${typeof what === 'string' ? what : what()}.`);
		}
		await delay(5);
	}
}

/** A promise and what settles it. */
export interface Deferred<T> {
	promise: Promise<T>;
	resolve(value: T): void;
	reject(error: unknown): void;
}

export function deferred<T = void>(): Deferred<T> {
	let resolve!: (value: T) => void;
	let reject!: (error: unknown) => void;
	const promise = new Promise<T>((onResolve, onReject) => {
		resolve = onResolve;
		reject = onReject;
	});
	return { promise, resolve, reject };
}
