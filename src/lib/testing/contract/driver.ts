import type { RealtimeBackend } from '../../server/backend/backend.js';

/**
 * How a contract suite reaches a backend. The suite sees nothing else of it, so one suite serves every
 * implementation. Cases that need an optional method are left out if it is missing.
 */
export interface BackendDriver {
	/** Connects to the shared backend, as one more process would. The suite closes every connection. */
	connect(): RealtimeBackend | PromiseLike<RealtimeBackend>;
	/** Ends a connection. @default the backend's own `close` */
	close?(backend: RealtimeBackend): void | PromiseLike<void>;
	/** Ends the server at once, as a crash does. */
	stop?(): void | PromiseLike<void>;
	/** Starts it again. It may have forgotten everything since `save`. */
	start?(): void | PromiseLike<void>;
	/** From now on the server accepts and never answers. */
	freeze?(): void | PromiseLike<void>;
	/** It answers again. */
	thaw?(): void | PromiseLike<void>;
	/** Erases everything that the server has. */
	flush?(): void | PromiseLike<void>;
	/** Saves the server's state: after the next `stop` and `start` it has that state. */
	save?(): void | PromiseLike<void>;
	/**
	 * Names of cases that this backend does not pass. They run anyway, and the suite fails if one passes, so
	 * that the list stays true.
	 */
	readonly knownGaps?: readonly string[];
}

/** The test runner: Vitest, or `node:test` with any `expect`. */
export interface TestRunner {
	it(name: string, run: () => Promise<void>): unknown;
	expect(value: unknown, message?: string): Matchers;
}

/** The part of `expect` that the suites use. */
export interface Matchers {
	toBe(expected: unknown): unknown;
	toEqual(expected: unknown): unknown;
	toMatchObject(expected: object): unknown;
}

/** The argument of a case. */
export interface CaseContext {
	/** Connects as one more process. */
	connect(): Promise<RealtimeBackend>;
	/** The name of a log that no other case uses. */
	readonly log: string;
}

type Fault = Exclude<keyof BackendDriver, 'connect' | 'close' | 'knownGaps'>;

/** A rule that a backend must follow. */
export interface ContractCase {
	/** The rule. */
	readonly name: string;
	/** What the driver must be able to do. */
	readonly needs?: readonly Fault[];
	run(context: CaseContext): Promise<void>;
}

let logs = 0;

/** Registers the cases with the test runner. */
export function register(
	driver: BackendDriver,
	{ it }: TestRunner,
	cases: readonly ContractCase[]
): void {
	for (const gap of driver.knownGaps ?? []) {
		if (cases.some(({ name }) => name === gap)) continue;
		throw new TypeError(
			`The contract has no case "${gap}", which the driver names as a known gap.`
		);
	}
	for (const { name, needs = [], run } of cases) {
		if (needs.some((need) => !driver[need])) continue;
		if (!driver.knownGaps?.includes(name)) {
			it(name, () => inContext(driver, run));
			continue;
		}
		it(`${name} (known gap)`, async () => {
			try {
				await inContext(driver, run);
			} catch {
				return;
			}
			throw new Error(`The known gap "${name}" is closed: remove it from the driver's list.`);
		});
	}
}

async function inContext(
	driver: BackendDriver,
	run: (context: CaseContext) => Promise<void>
): Promise<void> {
	const backends: RealtimeBackend[] = [];
	const log = `contract {${Math.random().toString(36).slice(2)}} ${++logs}`;
	try {
		await run({
			log,
			async connect() {
				const backend = await driver.connect();
				backends.push(backend);
				return backend;
			}
		});
	} finally {
		for (const backend of backends) {
			await (driver.close ? driver.close(backend) : backend.close?.());
		}
	}
}

/** Waits until a condition holds, when no event tells. */
export async function until(
	condition: () => unknown,
	what: string,
	timeoutMs = 20_000
): Promise<void> {
	for (const deadline = Date.now() + timeoutMs; ;) {
		if (await condition()) return;
		if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}.`);
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
}

/** How a promise settled, and after how long, in milliseconds. */
export async function outcome(
	call: () => unknown
): Promise<{ value?: unknown; error?: unknown; tookMs: number }> {
	const startedMs = Date.now();
	try {
		return { value: await call(), tookMs: Date.now() - startedMs };
	} catch (error) {
		return { error, tookMs: Date.now() - startedMs };
	}
}
