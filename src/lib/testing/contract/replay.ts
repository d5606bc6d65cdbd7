import { compareCursors, parseCursor } from '../../protocol/cursor.js';
import type { RealtimeBackend } from '../../server/backend/backend.js';
import type { ReplayEvent, ReplaySlice, ReplayStore } from '../../server/backend/replay.js';
import {
	outcome,
	register,
	until,
	type BackendDriver,
	type CaseContext,
	type ContractCase,
	type TestRunner
} from './driver.js';

/** A message with its number in key and payload. */
export function message(number: number | string, more: Partial<ReplayEvent> = {}): ReplayEvent {
	return {
		key: `key ${number}`,
		kind: 'message',
		topic: 'topic',
		payload: JSON.stringify({ number }),
		...more
	};
}

const messages = (from: number, to: number): ReplayEvent[] =>
	Array.from({ length: to - from + 1 }, (_, index) => message(from + index));

/** The numbers of events. */
const numbers = ({ events }: Pick<ReplaySlice, 'events'>): unknown[] =>
	events.map(({ payload }) => (JSON.parse(payload) as { number: unknown }).number);

const sequence = (cursor: string): number => parseCursor(cursor)!.sequence;
const epoch = (cursor: string): string => parseCursor(cursor)!.epoch;

/** A call may take its time limit, and a little longer to be noticed. */
const limitMs = ({ timeoutMs = 2_000 }: RealtimeBackend): number => timeoutMs + 1_500;

/**
 * The contract of a {@link ReplayStore}: what a feed relies on. A case about an optional method passes if the
 * store has none.
 *
 * @example
 * ```ts
 * describe('my backend', () => replayContract({ connect: () => myBackend(url) }, { it, expect }));
 * ```
 */
export function replayContract(driver: BackendDriver, runner: TestRunner): void {
	const { expect } = runner;

	async function open({ connect }: CaseContext): Promise<{
		store: ReplayStore;
		backend: RealtimeBackend;
	}> {
		const backend = await connect();
		if (!backend.replay) throw new TypeError('The backend has no `replay`.');
		return { store: backend.replay, backend };
	}

	/** Everything after a cursor, page by page. */
	async function readAll(store: ReplayStore, log: string, cursor: string, limit?: number) {
		const events = [];
		for (;;) {
			const slice = await store.since(log, cursor, limit);
			events.push(...slice.events);
			if (!slice.more) return { ...slice, events };
			cursor = slice.events.at(-1)!.cursor;
		}
	}

	const cases: ContractCase[] = [
		{
			name: 'an empty log that is read twice has one epoch, and is new',
			async run(context) {
				const { store } = await open(context);
				const first = await store.bounds(context.log);
				expect(await store.bounds(context.log)).toEqual(first);
				expect(first.first).toBe(first.last);
				expect(sequence(first.last)).toBe(0);
				expect(first.isNew ?? true).toBe(true);
				expect(await store.since(context.log, first.last)).toEqual({ events: [] });
			}
		},
		{
			name: 'events come back in order, each with its own cursor, counted from 1',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				const start = (await store.bounds(log)).last;
				const cursors = await store.append(log, messages(1, 3));
				expect(cursors.map(sequence)).toEqual([1, 2, 3]);
				expect([...new Set(cursors.map(epoch))]).toEqual([epoch(start)]);
				const slice = await store.since(log, start);
				expect(numbers(slice)).toEqual([1, 2, 3]);
				expect(slice.events.map(({ cursor }) => cursor)).toEqual([...cursors]);
				expect(slice.missed).toBe(undefined);
				expect(numbers(await store.since(log, cursors[1]!))).toEqual([3]);
				expect(await store.since(log, cursors[2]!)).toEqual({ events: [] });
				const bounds = await store.bounds(log);
				expect([bounds.first, bounds.last]).toEqual([start, cursors[2]]);
				expect(bounds.isNew ?? false).toBe(false);
			}
		},
		{
			name: 'text of any kind and size comes back as it was',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				const start = (await store.bounds(log)).last;
				const events = [
					message(1, { topic: '', payload: '' }),
					message(2, { topic: 'a:b {c} 12:', payload: 'two\nlines\r\n\0\u2028' }),
					message(3, { topic: 'größe 😀', payload: JSON.stringify('€ 😀 "\\') }),
					message(4, { key: 'k'.repeat(2_000), payload: JSON.stringify('x'.repeat(300_000)) }),
					message(5, { kind: 'resync', topic: null, payload: '{"reason":"upstream-gap"}' })
				];
				await store.append(log, events);
				const { events: read } = await readAll(store, log, start);
				expect(read.map(({ kind, topic, payload }) => ({ kind, topic, payload }))).toEqual(
					events.map(({ kind, topic, payload }) => ({ kind, topic, payload }))
				);
			}
		},
		{
			name: 'logs do not see each other, whatever their names',
			async run(context) {
				const { store } = await open(context);
				const names = ['', ' ', '{a}', '}{', 'a:log', '\n', 'é', 'x'.repeat(3_000)];
				const logs = names.map((name) => context.log + name);
				for (const log of logs) await store.append(log, [message(log)]);
				for (const log of logs) {
					const { first } = await store.bounds(log);
					expect(numbers(await store.since(log, first))).toEqual([log]);
				}
			}
		},
		{
			name: 'all processes share one log',
			async run(context) {
				const { log } = context;
				const here = (await open(context)).store;
				const there = (await open(context)).store;
				const start = (await here.bounds(log)).last;
				expect((await there.bounds(log)).last).toBe(start);
				await here.append(log, [message(1)]);
				await there.append(log, [message(2)]);
				expect(numbers(await here.since(log, start))).toEqual([1, 2]);
				expect(await there.since(log, start)).toEqual(await here.since(log, start));
			}
		},
		{
			name: 'an event whose key is known keeps its first cursor',
			async run(context) {
				const { log } = context;
				const here = (await open(context)).store;
				const there = (await open(context)).store;
				const cursors = await here.append(log, [message(1), message(2), message(1)]);
				expect(cursors[2]).toBe(cursors[0]);
				const again = await there.append(log, [message(2), message(3)]);
				expect(again[0]).toBe(cursors[1]);
				expect(sequence(again[1]!)).toBe(3);
				expect(numbers(await here.since(log, (await here.bounds(log)).first))).toEqual([1, 2, 3]);
			}
		},
		{
			name: 'processes that receive events in different orders agree on one',
			async run(context) {
				const { log } = context;
				const stores = [(await open(context)).store, (await open(context)).store];
				const start = (await stores[0]!.bounds(log)).last;
				const events = messages(1, 40);
				await Promise.all([
					...events.map((event) => stores[0]!.append(log, [event])),
					...events.toReversed().map((event) => stores[1]!.append(log, [event]))
				]);
				const [here, there] = await Promise.all(stores.map((store) => readAll(store, log, start)));
				expect(there).toEqual(here);
				expect(here!.events.map(({ cursor }) => sequence(cursor))).toEqual(
					events.map((_, index) => index + 1)
				);
				expect(numbers(here!).sort()).toEqual(numbers({ events: here!.events }).sort());
				expect(new Set(numbers(here!)).size).toBe(40);
			}
		},
		{
			name: 'a page ends at the limit and says that there is more',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				const start = (await store.bounds(log)).last;
				await store.append(log, messages(1, 5));
				const page = await store.since(log, start, 2);
				expect(numbers(page)).toEqual([1, 2]);
				expect(page.more).toBe(true);
				const whole = await store.since(log, start, 5);
				expect(numbers(whole)).toEqual([1, 2, 3, 4, 5]);
				expect(whole.more ?? false).toBe(false);
				expect(numbers(await readAll(store, log, start, 2))).toEqual([1, 2, 3, 4, 5]);
			}
		},
		{
			name: 'large events come page by page, none of them cut',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				const start = (await store.bounds(log)).last;
				const payload = (number: number) => JSON.stringify({ number, text: 'x'.repeat(300_000) });
				for (let n = 1; n <= 8; n++) {
					await store.append(log, [message(n, { payload: payload(n) })]);
				}
				const { events } = await readAll(store, log, start);
				expect(numbers({ events })).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
			}
		},
		{
			name: 'a burst is kept whole and in order',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				store.limit?.(log, { maxEvents: 2_000 });
				const start = (await store.bounds(log)).last;
				const cursors = await store.append(log, messages(1, 1_200));
				expect(cursors.map(sequence)).toEqual(messages(1, 1_200).map((_, index) => index + 1));
				const all = await readAll(store, log, start);
				expect([all.events.length, all.missed]).toEqual([
					store.limit ? 1_200 : all.events.length,
					store.limit ? undefined : all.missed
				]);
				expect(numbers(all)).toEqual(numbers(all).toSorted((a, b) => Number(a) - Number(b)));
			}
		},
		{
			name: 'past `maxEvents` the oldest goes, and who has not seen it is told',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				if (!store.limit) return;
				store.limit(log, { maxEvents: 3 });
				const start = (await store.bounds(log)).last;
				const cursors = await store.append(log, messages(1, 5));
				const slice = await store.since(log, start);
				expect([numbers(slice), slice.missed]).toEqual([[3, 4, 5], 'expired']);
				expect((await store.since(log, cursors[0]!)).missed).toBe('expired');
				expect(await store.since(log, cursors[1]!)).toEqual({ events: slice.events });
				const bounds = await store.bounds(log);
				expect([bounds.first, bounds.last]).toEqual([cursors[1], cursors[4]]);
			}
		},
		{
			name: 'past `maxAgeMs` an event goes, and the log keeps its epoch',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				if (!store.limit) return;
				store.limit(log, { maxAgeMs: 300 });
				const start = (await store.bounds(log)).last;
				const [cursor] = await store.append(log, [message(1)]);
				await until(async () => (await store.since(log, start)).missed, 'the event to go');
				expect(await store.since(log, start)).toEqual({ events: [], missed: 'expired' });
				expect(await store.since(log, cursor!)).toEqual({ events: [] });
				const [next] = await store.append(log, [message(2)]);
				expect(compareCursors(next!, cursor!)).toBe(1);
				expect(numbers(await store.since(log, cursor!))).toEqual([2]);
			}
		},
		{
			name: 'past `maxAgeMs` only what is too old goes',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				if (!store.limit) return;
				store.limit(log, { maxAgeMs: 1_000 });
				const start = (await store.bounds(log)).last;
				const old = await store.append(log, messages(1, 150));
				await new Promise((resolve) => setTimeout(resolve, 600));
				await store.append(log, [message(151)]);
				await until(async () => (await store.since(log, start)).missed, 'the old events to go');
				const slice = await store.since(log, start);
				expect([numbers(slice), slice.missed]).toEqual([[151], 'expired']);
				expect((await store.bounds(log)).first).toBe(old[149]);
			}
		},
		{
			name: 'a cursor of another life of the log is told that messages are missing',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				await store.append(log, messages(1, 3));
				for (const cursor of ['elsewhere-1', 'elsewhere-0', 'x.y_z-999999999999999']) {
					expect(await store.since(log, cursor), cursor).toEqual({
						events: [],
						missed: 'restart'
					});
				}
				expect((await store.bounds(log)).isNew ?? false).toBe(false);
			}
		},
		{
			name: 'below what was handed out, the log begins a new epoch',
			async run(context) {
				const { log } = context;
				const here = (await open(context)).store;
				const there = (await open(context)).store;
				const cursors = await here.append(log, messages(1, 5));
				const lost = cursors[4]!.replace(/5$/, '10');
				expect(await there.since(log, lost)).toEqual({ events: [], missed: 'restart' });
				const [next] = await here.append(log, [message(6)]);
				expect(compareCursors(next!, lost)).toBe(null);
				expect((await here.since(log, cursors[4]!)).missed).toBe('restart');
			}
		},
		{
			name: 'appending and reading at once is appending, then reading',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				if (!store.appendAndRead) return;
				const start = (await store.bounds(log)).last;
				const slice = await store.appendAndRead(log, messages(1, 3), start, 100);
				expect([numbers(slice), slice.missed, slice.more ?? false]).toEqual([
					[1, 2, 3],
					undefined,
					false
				]);
				const cursor = slice.events[1]!.cursor;
				const next = await store.appendAndRead(log, [message(3), message(4)], cursor, 1);
				expect([numbers(next), next.more]).toEqual([[3], true]);
				expect(numbers(await store.since(log, cursor))).toEqual([3, 4]);
				const strange = await store.appendAndRead(log, [message(5)], 'elsewhere-1', 100);
				expect(strange).toEqual({ events: [], missed: 'restart' });
				expect(numbers(await store.since(log, start))).toEqual([1, 2, 3, 4, 5]);
			}
		},
		{
			name: 'what is appended below what was handed out belongs to the new epoch',
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				if (!store.appendAndRead) return;
				const [cursor] = await store.append(log, [message(1)]);
				const lost = cursor!.replace(/1$/, '10');
				expect((await store.appendAndRead(log, [message(2)], lost, 100)).missed).toBe('restart');
				const { first } = await store.bounds(log);
				expect(epoch(first) === epoch(lost)).toBe(false);
				expect(numbers(await store.since(log, first))).toEqual([2]);
			}
		},
		{
			name: 'a log that is cleared has a new epoch and nothing of before',
			async run(context) {
				const { log } = context;
				const here = (await open(context)).store;
				const there = (await open(context)).store;
				if (!here.clear) return;
				const cursors = await here.append(log, messages(1, 3));
				await here.clear(log);
				for (const cursor of cursors) {
					const { events, missed } = await there.since(log, cursor);
					expect([events, missed !== undefined]).toEqual([[], true]);
				}
				const { first } = await there.bounds(log);
				await there.append(log, [message(1)]);
				expect(numbers(await here.since(log, first))).toEqual([1]);
				expect(epoch(first) === epoch(cursors[0]!)).toBe(false);
			}
		},
		{
			name: 'a process that no longer listens takes nothing from the others',
			async run(context) {
				const { log } = context;
				const here = (await open(context)).store;
				const there = (await open(context)).store;
				const start = (await here.bounds(log)).last;
				await here.append(log, messages(1, 2));
				here.release?.(log);
				expect(numbers(await there.since(log, start))).toEqual([1, 2]);
			}
		},
		{
			name: 'when everything is erased, the log begins anew',
			needs: ['flush'],
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				const cursors = await store.append(log, messages(1, 3));
				await driver.flush!();
				expect(await store.since(log, cursors[1]!)).toEqual({ events: [], missed: 'restart' });
				const [next] = await store.append(log, [message(4)]);
				expect([sequence(next!), compareCursors(next!, cursors[2]!)]).toEqual([1, null]);
			}
		},
		{
			name: 'while the server is gone calls fail in time, and go on once it is back',
			needs: ['stop', 'start'],
			async run(context) {
				const { store, backend } = await open(context);
				const { log } = context;
				await store.append(log, [message(1)]);
				await driver.stop!();
				const calls: (() => unknown)[] = [
					() => store.append(log, [message('given up')]),
					() => store.since(log, 'elsewhere-1'),
					() => store.bounds(log)
				];
				for (const call of calls) {
					const { error, tookMs } = await outcome(call);
					expect(error instanceof Error, 'the call fails').toBe(true);
					expect(tookMs < limitMs(backend), `in time: ${tookMs} ms`).toBe(true);
					expect(/given up|topic/.test(String((error as Error).stack))).toBe(false);
				}
				await driver.start!();
				await until(
					async () => (await outcome(() => store.bounds(log))).value,
					'the store to answer again'
				);
				await store.append(log, [message('back')]);
				const all = await readAll(store, log, (await store.bounds(log)).first);
				expect(numbers(all).includes('back')).toBe(true);
				expect(numbers(all).includes('given up'), 'written after it failed').toBe(false);
			}
		},
		{
			name: 'a server that hangs is as harmless as one that is gone',
			needs: ['freeze', 'thaw'],
			async run(context) {
				const { store, backend } = await open(context);
				const { log } = context;
				const start = (await store.bounds(log)).last;
				const [cursor] = await store.append(log, [message(1)]);
				await driver.freeze!();
				try {
					const calls: (() => unknown)[] = [
						() => store.append(log, [message(2)]),
						() => store.since(log, start),
						() => store.bounds(log)
					];
					for (const { error, tookMs } of await Promise.all(calls.map(outcome))) {
						expect(error instanceof Error, 'the call fails').toBe(true);
						expect(tookMs < limitMs(backend), `in time: ${tookMs} ms`).toBe(true);
					}
					const connecting = await open(context);
					const { error, tookMs } = await outcome(() => connecting.store.bounds(log));
					expect([error instanceof Error, tookMs < limitMs(backend)]).toEqual([true, true]);
				} finally {
					await driver.thaw!();
				}
				await until(
					async () => (await outcome(() => store.bounds(log))).value,
					'the store to answer again'
				);
				expect((await store.append(log, [message(1)]))[0]).toBe(cursor);
				// Calls that were pending when the server hung may have been stored, but only once.
				await store.append(log, messages(2, 3));
				expect(numbers(await store.since(log, start))).toEqual([1, 2, 3]);
			}
		},
		{
			name: 'a restart that loses nothing continues every cursor',
			needs: ['save', 'stop', 'start'],
			async run(context) {
				const { store } = await open(context);
				const { log } = context;
				const start = (await store.bounds(log)).last;
				const cursors = await store.append(log, messages(1, 3));
				for (let turn = 0; turn < 2; turn++) {
					await driver.save!();
					await driver.stop!();
					await driver.start!();
					await until(
						async () => (await outcome(() => store.bounds(log))).value,
						'the store to answer again'
					);
				}
				expect(numbers(await store.since(log, cursors[1]!))).toEqual([3]);
				expect(await store.since(log, cursors[2]!)).toEqual({ events: [] });
				await store.append(log, [message(4)]);
				const slice = await store.since(log, start);
				expect([numbers(slice), slice.missed]).toEqual([[1, 2, 3, 4], undefined]);
			}
		},
		{
			name: 'a restart that loses the end of the log is noticed, also when others were faster',
			needs: ['save', 'stop', 'start'],
			async run(context) {
				const { log } = context;
				const here = (await open(context)).store;
				const there = (await open(context)).store;
				const kept = await here.append(log, messages(1, 5));
				await driver.save!();
				const lost = await here.append(log, messages(6, 10));
				await driver.stop!();
				await driver.start!();
				await until(
					async () => (await outcome(() => there.bounds(log))).value,
					'the store to answer again'
				);
				// Another process writes over the lost sequences before this one asks.
				await there.append(log, messages(11, 20));
				expect(numbers(await there.since(log, kept[4]!))).toEqual(
					messages(11, 20).map((_, index) => index + 11)
				);
				await until(async () => (await outcome(() => here.bounds(log))).value, 'an answer here');
				expect((await here.since(log, lost[4]!)).missed).toBe('restart');
			}
		}
	];
	register(driver, runner, cases);
}
