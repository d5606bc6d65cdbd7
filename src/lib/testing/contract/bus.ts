import { compareCursors } from '../../protocol/cursor.js';
import type { BackendBus, BusListener, RealtimeBackend } from '../../server/backend/backend.js';
import type { ReplayedEvent, ReplaySlice, ReplayStore } from '../../server/backend/replay.js';
import {
	outcome,
	register,
	until,
	type BackendDriver,
	type CaseContext,
	type ContractCase,
	type TestRunner
} from './driver.js';
import { message } from './replay.js';

/** A listener that records its calls. */
class Recorder implements BusListener {
	/** Whether its process receives messages from their source. */
	isFed = false;
	readonly told: ReplayedEvent[] = [];
	/** Calls of `live` and `lost`, in order. */
	readonly turns: ('live' | 'lost')[] = [];
	readonly errors: Error[] = [];

	events(events: readonly ReplayedEvent[]): void {
		this.told.push(...events);
	}

	live(): void {
		this.turns.push('live');
	}

	lost(error: Error): void {
		this.turns.push('lost');
		this.errors.push(error);
	}

	get numbers(): unknown[] {
		return this.told.map(({ payload }) => (JSON.parse(payload) as { number: unknown }).number);
	}

	/** Whether announcements arrive. */
	get isListening(): boolean {
		return this.turns.at(-1) === 'live';
	}

	isLive(): boolean {
		return this.isFed;
	}
}

/** Reads the log whenever announcements alone do not show what follows its position, as a feed does. */
class Follower implements BusListener {
	readonly numbers: unknown[] = [];
	missed = false;
	readonly #store: ReplayStore;
	readonly #log: string;
	#cursor: string;
	#reading: Promise<void> | undefined;

	constructor(store: ReplayStore, log: string, cursor: string) {
		this.#store = store;
		this.#log = log;
		this.#cursor = cursor;
	}

	events(events: readonly ReplayedEvent[]): void {
		for (const event of events) {
			const steps = compareCursors(event.cursor, this.#cursor);
			if (this.#reading || steps === null || steps > 1) return void this.read();
			if (steps === 1) this.#take(event);
		}
	}

	live(): void {
		void this.read();
	}

	lost(): void {}

	async read(): Promise<void> {
		// Events that are announced while it reads may not be in the page, so it reads once more.
		await this.#reading;
		await (this.#reading ??= this.#readAll());
	}

	async #readAll(): Promise<void> {
		for (let more = true; more;) {
			const { value } = await outcome(() => this.#store.since(this.#log, this.#cursor));
			const slice = value as ReplaySlice | undefined;
			for (const event of slice?.events ?? []) this.#take(event);
			this.missed ||= slice?.missed !== undefined;
			more = slice?.more ?? false;
		}
		this.#reading = undefined;
	}

	#take({ cursor, payload }: ReplayedEvent): void {
		this.#cursor = cursor;
		this.numbers.push((JSON.parse(payload) as { number: unknown }).number);
	}
}

/** Generous time, in milliseconds, to notice that a connection is dead. */
const NOTICE_MS = 20_000;

/** The contract of a {@link BackendBus}: what feeds and `emit` rely on. */
export function busContract(driver: BackendDriver, runner: TestRunner): void {
	const { expect } = runner;

	async function open({ connect }: CaseContext): Promise<{
		backend: RealtimeBackend;
		bus: BackendBus;
		store: ReplayStore;
	}> {
		const backend = await connect();
		const { bus, replay } = backend;
		if (!bus || !replay) throw new TypeError('The backend has no `bus`, or no `replay` for it.');
		return { backend, bus, store: replay };
	}

	/** A listener that is live. */
	async function listening(bus: BackendBus, log: string): Promise<Recorder & { stop(): void }> {
		const recorder = new Recorder();
		const stop = bus.listen(log, recorder);
		await until(() => recorder.isListening, 'the listener to be live');
		return Object.assign(recorder, { stop });
	}

	const cases: ContractCase[] = [
		{
			name: 'what is published reaches every listener of every process, and the log',
			async run(context) {
				const { log } = context;
				const here = await open(context);
				const there = await open(context);
				const start = (await here.store.bounds(log)).last;
				const listeners = [
					await listening(here.bus, log),
					await listening(here.bus, log),
					await listening(there.bus, log)
				];
				const event = message(1, { topic: 'größe {1}', payload: '{"number":1,"text":"a\\n😀"}' });
				const { cursor, isDuplicate } = await here.bus.publish(log, event);
				expect(isDuplicate).toBe(false);
				for (const listener of listeners) {
					await until(() => listener.told.length > 0, 'the announcement');
					expect(listener.told).toEqual([
						{ cursor, kind: 'message', topic: event.topic, payload: event.payload }
					]);
				}
				expect((await there.store.since(log, start)).events).toEqual(listeners[0]!.told);
			}
		},
		{
			name: 'what is appended to the log is announced as well, a known event is not',
			async run(context) {
				const { log } = context;
				const here = await open(context);
				const there = await open(context);
				const listener = await listening(there.bus, log);
				await here.store.append(log, [message(1), message(2)]);
				await here.store.append(log, [message(2), message(3)]);
				const { cursor, isDuplicate } = await here.bus.publish(log, message(4));
				await until(() => listener.numbers.includes(4), 'the last announcement');
				expect([listener.numbers, isDuplicate]).toEqual([[1, 2, 3, 4], false]);
				expect(listener.told.at(-1)!.cursor).toBe(cursor);
			}
		},
		{
			name: 'an event whose key is known is not published again',
			async run(context) {
				const { log } = context;
				const here = await open(context);
				const there = await open(context);
				const listener = await listening(there.bus, log);
				const answers = await Promise.all(
					Array.from({ length: 10 }, (_, index) =>
						(index % 2 ? here : there).bus.publish(log, message('same'))
					)
				);
				expect(answers.filter(({ isDuplicate }) => !isDuplicate).length).toBe(1);
				expect(new Set(answers.map(({ cursor }) => cursor)).size).toBe(1);
				await here.bus.publish(log, message('last'));
				await until(() => listener.numbers.includes('last'), 'the last announcement');
				expect(listener.numbers).toEqual(['same', 'last']);
			}
		},
		{
			name: 'a key is remembered for as long as was asked for, also when the event is gone',
			async run(context) {
				const { log } = context;
				const here = await open(context);
				here.store.limit?.(log, { maxEvents: 1 });
				const options = { keyTtlMs: 48 * 3_600_000 };
				const first = await here.bus.publish(log, message('kept'), options);
				await here.bus.publish(log, message('next'), options);
				await here.bus.publish(log, message('after that'), options);
				const there = await open(context);
				there.store.limit?.(log, { maxEvents: 1 });
				expect(await there.bus.publish(log, message('kept'), options)).toEqual({
					cursor: first.cursor,
					isDuplicate: true
				});
			}
		},
		{
			name: 'announcements come in the order of the log',
			async run(context) {
				const { log } = context;
				const sides = [await open(context), await open(context)];
				const start = (await sides[0]!.store.bounds(log)).last;
				const listeners = [
					await listening(sides[0]!.bus, log),
					await listening(sides[1]!.bus, log)
				];
				// Not all at once: each of them has its own time limit, and they may each need a connection.
				for (let first = 0; first < 200; first += 50) {
					const numbers = Array.from({ length: 50 }, (_, n) => first + n);
					await Promise.all(numbers.map((n) => sides[n % 2]!.bus.publish(log, message(n))));
				}
				const { events } = await sides[0]!.store.since(log, start);
				expect(events.length).toBe(200);
				for (const listener of listeners) {
					await until(() => listener.told.length >= 200, 'all announcements');
					expect(listener.told).toEqual([...events]);
				}
			}
		},
		{
			name: 'a listener hears of its own log only, until it is removed',
			async run(context) {
				const { log } = context;
				const { bus } = await open(context);
				const one = await listening(bus, log);
				const same = await listening(bus, log);
				const other = await listening(bus, `${log} other`);
				await bus.publish(log, message(1));
				await until(() => one.told.length && same.told.length, 'the announcements');
				one.stop();
				one.stop();
				await bus.publish(log, message(2));
				await bus.publish(`${log} other`, message(3));
				await until(() => same.told.length > 1 && other.told.length, 'the announcements');
				expect([one.numbers, same.numbers, other.numbers]).toEqual([[1], [1, 2], [3]]);
				same.stop();
				const again = await listening(bus, log);
				await bus.publish(log, message(4));
				await until(() => again.told.length, 'the announcement');
				expect([same.numbers, again.numbers]).toEqual([[1, 2], [4]]);
			}
		},
		{
			name: 'a hundred logs are listened to at once',
			async run(context) {
				const { bus } = await open(context);
				const logs = Array.from({ length: 100 }, (_, n) => `${context.log} ${n}`);
				const listeners = await Promise.all(logs.map((log) => listening(bus, log)));
				await Promise.all(logs.map((log) => bus.publish(log, message(log))));
				for (const [index, listener] of listeners.entries()) {
					await until(() => listener.told.length, 'the announcement');
					expect(listener.numbers).toEqual([logs[index]]);
				}
			}
		},
		{
			name: 'a large event is announced whole, or by `live`, and is in the log',
			async run(context) {
				const { log } = context;
				const here = await open(context);
				const there = await open(context);
				const start = (await here.store.bounds(log)).last;
				const listener = await listening(there.bus, log);
				const payload = JSON.stringify({ number: 1, text: '€'.repeat(200_000) });
				await here.bus.publish(log, message(1, { payload }));
				await until(() => listener.told.length || listener.turns.length > 1, 'to be told of it');
				expect(listener.turns.includes('lost')).toBe(false);
				expect((await there.store.since(log, start)).events[0]?.payload).toBe(payload);
				for (const { payload: told } of listener.told) expect(told).toBe(payload);
			}
		},
		{
			name: 'a line that breaks is told once, and once more when it is back',
			needs: ['stop', 'start'],
			async run(context) {
				const { log } = context;
				const { bus, backend } = await open(context);
				const listener = await listening(bus, log);
				await driver.stop!();
				await until(() => listener.turns.includes('lost'), 'the loss', NOTICE_MS);
				const late = new Recorder();
				bus.listen(log, late);
				const { error, tookMs } = await outcome(() => bus.publish(log, message('given up')));
				expect([error instanceof Error, tookMs < (backend.timeoutMs ?? 2_000) + 1_500]).toEqual([
					true,
					true
				]);
				await until(() => late.turns.length, 'the newcomer to be told', NOTICE_MS);
				await driver.start!();
				await until(
					() => listener.isListening && late.isListening,
					'the line to come back',
					NOTICE_MS
				);
				expect([listener.turns, late.turns]).toEqual([
					['live', 'lost', 'live'],
					['lost', 'live']
				]);
				await until(
					async () => (await outcome(() => bus.publish(log, message('back')))).value,
					'publishing to work again'
				);
				await until(() => listener.told.length && late.told.length, 'the announcement');
				expect([listener.numbers, late.numbers]).toEqual([['back'], ['back']]);
			}
		},
		{
			name: 'a line that falls silent is noticed',
			needs: ['freeze', 'thaw'],
			async run(context) {
				const { log } = context;
				const { bus } = await open(context);
				const listener = await listening(bus, log);
				await driver.freeze!();
				try {
					await until(() => listener.turns.includes('lost'), 'the loss', NOTICE_MS);
				} finally {
					await driver.thaw!();
				}
				await until(() => listener.isListening, 'the line to come back', NOTICE_MS);
				await until(
					async () => (await outcome(() => bus.publish(log, message('back')))).value,
					'publishing to work again'
				);
				await until(() => listener.numbers.includes('back'), 'the announcement');
			}
		},
		{
			name: 'what is sent again while the server hangs arrives once, in one order',
			needs: ['freeze', 'thaw'],
			async run(context) {
				const { log } = context;
				const sides = [await open(context), await open(context)];
				const start = (await sides[0]!.store.bounds(log)).last;
				const followers = sides.map(({ store, bus }) => {
					const follower = new Follower(store, log, start);
					bus.listen(log, follower);
					return follower;
				});
				let isHanging = false;
				const sending = sides.map(async ({ bus }, side) => {
					for (let n = 0; n < 30; n++) {
						const send = () => bus.publish(log, message(`${side} ${n}`));
						while (!(await outcome(send)).value) {
							await new Promise((resolve) => setTimeout(resolve, 20));
						}
						if (n === 10 && !isHanging) {
							isHanging = true;
							await driver.freeze!();
							const { timeoutMs = 2_000 } = sides[0]!.backend;
							setTimeout(() => void driver.thaw!(), timeoutMs * 1.2);
						}
					}
				});
				await Promise.all(sending);
				for (const follower of followers) {
					await until(async () => {
						await follower.read();
						return follower.numbers.length >= 60;
					}, 'all events');
					expect(follower.missed).toBe(false);
					expect(new Set(follower.numbers).size).toBe(60);
					expect(follower.numbers).toEqual(followers[0]!.numbers);
				}
			}
		},
		{
			name: 'a process that receives messages says so to others, and to nobody else',
			async run(context) {
				const { log } = context;
				const here = await open(context);
				const there = await open(context);
				if (!here.bus.probe) return;
				const own = await listening(here.bus, log);
				const other = await listening(there.bus, log);
				own.isFed = true;
				expect(await here.bus.probe(log, 500)).toBe(false);
				other.isFed = true;
				expect(await here.bus.probe(log, 2_000)).toBe(true);
				expect(await here.bus.probe(`${log} of another channel`, 500)).toBe(false);
				expect([own.told, other.told]).toEqual([[], []]);
			}
		},
		{
			name: 'after `close` nobody is told anything',
			async run(context) {
				const { log } = context;
				const here = await open(context);
				const there = await open(context);
				const listener = await listening(here.bus, log);
				const witness = await listening(there.bus, log);
				await (driver.close ? driver.close(here.backend) : here.backend.close?.());
				await there.bus.publish(log, message(1));
				await until(() => witness.told.length, 'the announcement elsewhere');
				expect([listener.told, listener.turns]).toEqual([[], ['live']]);
			}
		}
	];
	register(driver, runner, cases);
}
