import type { RealtimeBackend } from '../../server/backend/backend.js';
import type {
	PresenceChange,
	PresenceJoined,
	PresenceListener,
	PresenceMember,
	PresenceStore
} from '../../server/backend/presence.js';
import {
	outcome,
	register,
	until,
	type BackendDriver,
	type CaseContext,
	type ContractCase,
	type TestRunner
} from './driver.js';

const HOUR_MS = 3_600_000;

/** A lease short enough for a case to wait for its end. */
const SHORT_MS = 300;

/** Generous time, in milliseconds, to notice that a connection is dead. */
const NOTICE_MS = 20_000;

/** Keeps the members as a room does, with the newest version of each. */
class Watcher implements PresenceListener {
	readonly told: PresenceChange[] = [];
	checks = 0;

	changes(changes: readonly PresenceChange[]): void {
		this.told.push(...changes);
	}

	check(): void {
		this.checks++;
	}

	get names(): string[] {
		return this.told.map(({ type, member: { id } }) => `${type} ${id}`);
	}
}

/**
 * The contract of a {@link PresenceStore}: what presence relies on.
 *
 * @example
 * ```ts
 * describe('my backend', () => presenceContract({ connect: () => myBackend(url) }, { it, expect }));
 * ```
 */
export function presenceContract(driver: BackendDriver, runner: TestRunner): void {
	const { expect } = runner;

	async function open({ connect }: CaseContext): Promise<PresenceStore> {
		const { presence } = await connect();
		if (!presence) throw new TypeError('The backend has no `presence`.');
		return presence;
	}

	/** Joins, which must not be refused. */
	async function join(
		store: PresenceStore,
		channel: string,
		owner: string,
		id: string,
		options: { data?: string; streams?: number; leaseMs?: number; maxMembers?: number } = {}
	): Promise<Extract<PresenceJoined, { isFull: false }>> {
		const { data = '{}', streams = 1, leaseMs = HOUR_MS, maxMembers } = options;
		const limits = { leaseMs, maxMembers };
		const joined = await store.join(channel, owner, { id, data, streams }, limits);
		if (joined.isFull) throw new Error(`There is no room for "${id}".`);
		return joined;
	}

	const idsOf = async (store: PresenceStore, channel: string): Promise<string[]> =>
		(await store.members(channel)).map(({ id }) => id);

	/** A listener that receives changes. */
	async function watching(
		store: PresenceStore,
		channel: string
	): Promise<Watcher & { stop(): void }> {
		const watcher = new Watcher();
		const stop = store.listen(channel, watcher);
		let n = 0;
		await until(async () => {
			if (n++ % 20 === 0) await join(store, channel, 'probe', 'probe', { streams: n + 1 });
			return watcher.told.length > 0;
		}, 'the listener to hear');
		const left = await store.leave(channel, 'probe', 'probe');
		await until(
			() => watcher.told.some(({ member }) => left && member.version >= left.version),
			'the listener to hear'
		);
		watcher.told.length = 0;
		return Object.assign(watcher, { stop });
	}

	/** Calls `reap` until it returned what the case waits for. It ignores the channels of other cases. */
	async function reaped(
		stores: readonly PresenceStore[],
		channels: readonly string[],
		count: number
	): Promise<string[]> {
		const gone: string[] = [];
		await until(async () => {
			const all = await Promise.all(stores.map((store) => store.reap()));
			for (const { channel, member } of all.flat()) {
				if (channels.includes(channel)) gone.push(`${channel} ${member.id}`);
			}
			return gone.length >= count;
		}, 'leases to be removed');
		for (const store of stores) {
			for (const { channel, member } of await store.reap()) {
				if (channels.includes(channel)) gone.push(`${channel} ${member.id}`);
			}
		}
		return gone.sort();
	}

	const cases: ContractCase[] = [
		{
			name: 'a member is there for all processes, and new once',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const before = Date.now() - 60_000;
				const data = '{"name":"Zoë 😀","n":1.5,"quote":"\\"\\n"}';
				const first = await join(one, channel, 'p1', 'zoë', { data });
				expect(first.isNew).toBe(true);
				expect(first.member).toMatchObject({ id: 'zoë', data, streams: 1 });
				expect(first.member.joinedAt > before).toBe(true);
				expect(Number.isSafeInteger(first.member.version)).toBe(true);
				const second = await join(two, channel, 'p2', 'zoë', { data: '{"other":1}', streams: 2 });
				expect(second.isNew).toBe(false);
				// The data of an existing member stays.
				expect(second.member).toMatchObject({ id: 'zoë', data, streams: 3 });
				expect(second.member.joinedAt).toBe(first.member.joinedAt);
				expect(second.member.version > first.member.version).toBe(true);
				expect(await one.members(channel)).toEqual([second.member]);
				expect(await two.members(channel)).toEqual([second.member]);
				expect(await two.members(`${channel} other`)).toEqual([]);
			}
		},
		{
			name: 'of many who bring a member at once, one finds it new',
			async run(context) {
				const { log: channel } = context;
				const stores = [await open(context), await open(context)];
				const joins = await Promise.all(
					Array.from({ length: 20 }, (_, n) => join(stores[n % 2]!, channel, `p${n}`, 'x'))
				);
				expect(joins.filter(({ isNew }) => isNew).length).toBe(1);
				expect((await stores[0]!.members(channel))[0]).toMatchObject({ id: 'x', streams: 20 });
			}
		},
		{
			name: 'members come oldest first',
			async run(context) {
				const { log: channel } = context;
				const store = await open(context);
				for (const id of ['c', 'a', 'b']) await join(store, channel, 'p', id);
				await store.update(channel, [{ id: 'c', data: '{"x":1}' }]);
				expect(await idsOf(store, channel)).toEqual(['c', 'a', 'b']);
			}
		},
		{
			name: 'saying the same again changes nothing; other streams are a change',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const watcher = await watching(two, channel);
				const { member } = await join(one, channel, 'p', 'x');
				expect(await join(one, channel, 'p', 'x')).toEqual({ isFull: false, isNew: false, member });
				const more = await join(one, channel, 'p', 'x', { streams: 4 });
				expect(more.member.streams).toBe(4);
				await until(() => watcher.told.length >= 2, 'the changes');
				expect(watcher.told).toEqual([
					{ type: 'join', member },
					{ type: 'update', member: more.member }
				]);
			}
		},
		{
			name: 'a channel has no more members than it may have',
			async run(context) {
				const { log: channel } = context;
				const stores = [await open(context), await open(context)];
				const limits = { leaseMs: HOUR_MS, maxMembers: 5 };
				const joins = await Promise.all(
					Array.from({ length: 20 }, (_, n) =>
						stores[n % 2]!.join(channel, 'p', { id: `${n}`, data: '{}', streams: 1 }, limits)
					)
				);
				expect(joins.filter(({ isFull }) => !isFull).length).toBe(5);
				const [known] = await idsOf(stores[0]!, channel);
				// An existing member is not refused.
				expect((await join(stores[1]!, channel, 'q', known!, { maxMembers: 5 })).isNew).toBe(false);
				for (const owner of ['p', 'q']) await stores[0]!.leave(channel, owner, known!);
				expect((await join(stores[1]!, channel, 'p', 'late', { maxMembers: 5 })).isNew).toBe(true);
			}
		},
		{
			name: 'a member leaves with its last lease, and its process is told',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const watcher = await watching(two, channel);
				await join(one, channel, 'p1', 'x', { data: '{"a":1}', streams: 2 });
				await join(two, channel, 'p2', 'x');
				expect(await one.leave(channel, 'p3', 'x')).toBe(null);
				expect(await one.leave(channel, 'p1', 'x')).toBe(null);
				expect(await one.leave(channel, 'p1', 'x')).toBe(null);
				expect((await two.members(channel))[0]).toMatchObject({ id: 'x', streams: 1 });
				const left = await two.leave(channel, 'p2', 'x');
				expect(left).toMatchObject({ id: 'x', data: '{"a":1}' });
				expect(await one.members(channel)).toEqual([]);
				await until(() => watcher.names.includes('leave x'), 'the leave');
				expect(watcher.names).toEqual(['join x', 'update x', 'update x', 'leave x']);
				expect(watcher.told.at(-1)!.member).toEqual(left);
			}
		},
		{
			name: 'versions rise with every change, also of a member that comes again',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const versions: number[] = [];
				for (let round = 0; round < 5; round++) {
					versions.push((await join(one, channel, 'p', 'x')).member.version);
					await two.update(channel, [{ id: 'x', data: `{"round":${round}}` }]);
					versions.push((await two.members(channel))[0]!.version);
					versions.push((await two.leave(channel, 'p', 'x'))!.version);
				}
				expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
			}
		},
		{
			name: 'data of members is replaced; whoever is no member stays none',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const watcher = await watching(two, channel);
				await join(one, channel, 'p', 'a');
				await join(one, channel, 'p', 'b', { data: '{"same":1}' });
				await two.update(channel, [
					{ id: 'a', data: '{"x":"{}\\u0000é"}' },
					{ id: 'b', data: '{"same":1}' },
					{ id: 'nobody', data: '{}' }
				]);
				await join(one, channel, 'p', 'last');
				await until(() => watcher.names.includes('join last'), 'the changes');
				expect(watcher.names).toEqual(['join a', 'join b', 'update a', 'join last']);
				const [a] = await one.members(channel);
				expect(a).toMatchObject({ id: 'a', data: '{"x":"{}\\u0000é"}' });
				expect(await idsOf(one, channel)).toEqual(['a', 'b', 'last']);
			}
		},
		{
			name: 'ids, owners and channels are any text',
			async run(context) {
				const store = await open(context);
				const texts = [
					'',
					' ',
					'ü',
					'a:b{c}',
					"x' --",
					'a\nb',
					'%_\\',
					'["a","b"]',
					'x'.repeat(500)
				];
				const channels = texts.map((text) => `${context.log}${text}`);
				for (const channel of channels) {
					for (const text of texts) await join(store, channel, `${context.log}${text}`, text);
				}
				for (const channel of channels) expect(await idsOf(store, channel)).toEqual(texts);
				for (const text of texts) {
					expect(await store.renew(`${context.log}${text}`, HOUR_MS)).toBe(channels.length);
					for (const channel of channels) {
						const left = await store.leave(channel, `${context.log}${text}`, text);
						expect(left?.id).toBe(text);
					}
				}
			}
		},
		{
			name: 'a lease that runs out hides its member, until exactly one process removes it',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const watcher = await watching(two, channel);
				await join(one, channel, 'dead', 'gone', { leaseMs: SHORT_MS });
				await join(one, channel, 'dead', 'shared', { leaseMs: SHORT_MS, streams: 2 });
				await join(two, channel, 'alive', 'shared');
				await join(two, channel, 'alive', 'stays');
				await until(
					async () => !(await idsOf(two, channel)).includes('gone'),
					'the lease to run out'
				);
				expect(await reaped([one, two, one, two], [channel], 1)).toEqual([`${channel} gone`]);
				expect(await idsOf(one, channel)).toEqual(['shared', 'stays']);
				expect((await one.members(channel))[0]).toMatchObject({ id: 'shared', streams: 1 });
				await until(() => watcher.names.includes('leave gone'), 'the leave');
				expect(watcher.names.filter((name) => name.startsWith('leave'))).toEqual(['leave gone']);
			}
		},
		{
			name: 'whoever comes back before it was removed has neither left nor joined',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const { member } = await join(one, channel, 'dead', 'x', {
					leaseMs: SHORT_MS,
					data: '{"kept":1}'
				});
				await until(async () => (await idsOf(two, channel)).length === 0, 'the lease to run out');
				const again = await join(two, channel, 'alive', 'x');
				expect([again.isNew, again.member.joinedAt]).toEqual([false, member.joinedAt]);
				await until(async () => {
					const gone = await one.reap();
					if (gone.some((entry) => entry.channel === channel)) throw new Error('It left.');
					return (await one.members(channel))[0]?.streams === 1;
				}, 'the lease to be removed');
				expect((await one.members(channel))[0]!.data).toBe('{"kept":1}');
			}
		},
		{
			name: 'a lease that ran out and is taken again is a change',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const watcher = await watching(two, channel);
				await join(one, channel, 'p', 'x', { leaseMs: SHORT_MS });
				await until(async () => (await idsOf(two, channel)).length === 0, 'the lease to run out');
				const { isNew, member } = await join(one, channel, 'p', 'x');
				expect(isNew).toBe(false);
				await until(() => watcher.told.length >= 2, 'the change');
				expect(watcher.told.at(-1)).toEqual({ type: 'update', member });
			}
		},
		{
			name: 'a process renews all of its leases, in every channel, and is told how many',
			async run(context) {
				const [one, two] = [await open(context), await open(context)];
				const owner = `${context.log} owner`;
				const channels = Array.from({ length: 12 }, (_, n) => `${context.log} ${n}`);
				await Promise.all(
					channels.flatMap((channel) => [
						join(one, channel, owner, 'a', { leaseMs: 3 * SHORT_MS }),
						join(one, channel, owner, 'b', { leaseMs: 3 * SHORT_MS }),
						join(two, channel, `${owner} other`, 'c', { leaseMs: 3 * SHORT_MS })
					])
				);
				expect(await one.renew(owner, HOUR_MS)).toBe(24);
				const gone = await reaped([one, two], channels, 12);
				expect(gone).toEqual(channels.map((channel) => `${channel} c`).sort());
				for (const channel of channels) {
					expect((await idsOf(two, channel)).sort()).toEqual(['a', 'b']);
				}
				for (const channel of channels.slice(2)) await one.leave(channel, owner, 'a');
				expect(await one.renew(owner, HOUR_MS)).toBe(14);
				expect(await one.renew(owner, HOUR_MS)).toBe(14);
				expect(await one.renew(`${owner} nobody`, HOUR_MS)).toBe(0);
			}
		},
		{
			name: 'leases that are made shorter run out sooner, and do not count when they have',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const owner = `${channel} owner`;
				await join(one, channel, owner, 'x');
				await join(two, channel, `${owner} other`, 'y');
				expect(await one.renew(owner, SHORT_MS)).toBe(1);
				expect(await reaped([two], [channel], 1)).toEqual([`${channel} x`]);
				expect(await one.renew(owner, HOUR_MS)).toBe(0);
				expect(await idsOf(one, channel)).toEqual(['y']);
			}
		},
		{
			name: 'a lease that ran out is not brought back by renewing',
			async run(context) {
				const { log: channel } = context;
				const store = await open(context);
				const owner = `${channel} owner`;
				await join(store, channel, owner, 'x', { leaseMs: SHORT_MS });
				await until(async () => (await idsOf(store, channel)).length === 0, 'the lease to run out');
				expect(await store.renew(owner, HOUR_MS)).toBe(0);
				expect(await idsOf(store, channel)).toEqual([]);
			}
		},
		{
			name: 'many channels of a process that died are each removed once',
			async run(context) {
				const stores = await Promise.all([open(context), open(context), open(context)]);
				const channels = Array.from({ length: 300 }, (_, n) => `${context.log} ${n}`);
				for (let from = 0; from < channels.length; from += 50) {
					await Promise.all(
						channels
							.slice(from, from + 50)
							.map((channel) => join(stores[0]!, channel, 'dead', 'x', { leaseMs: SHORT_MS }))
					);
				}
				const gone = await reaped(stores, channels, 300);
				expect(gone).toEqual(channels.map((channel) => `${channel} x`).sort());
			}
		},
		{
			name: 'whoever joins while others look for leases that ran out is not overlooked',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				for (let round = 0; round < 10; round++) {
					const owner = `${channel} ${round}`;
					await join(one, channel, owner, 'x', { leaseMs: 20 });
					const turns = Array.from({ length: 10 }, async (_, n) => {
						await new Promise((resolve) => setTimeout(resolve, n * 5));
						await two.reap();
					});
					await new Promise((resolve) => setTimeout(resolve, 20 + round));
					await join(one, channel, `${owner} late`, `late ${round}`, { leaseMs: 2 * SHORT_MS });
					await Promise.all(turns);
				}
				await until(async () => {
					await two.reap();
					return (
						(await join(one, channel, 'probe', 'probe', { maxMembers: 1, leaseMs: 1 }).catch(
							() => undefined
						)) !== undefined
					);
				}, 'all leases to be removed');
			}
		},
		{
			name: 'a listener hears of its own channel only, until it is removed',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const here = await watching(one, channel);
				const same = await watching(one, channel);
				const other = await watching(two, `${channel} other`);
				here.told.length = 0;
				await join(two, channel, 'p', 'a');
				await join(one, `${channel} other`, 'p', 'b');
				await until(() => here.told.length && same.told.length && other.told.length, 'the changes');
				here.stop();
				here.stop();
				await join(two, channel, 'p', 'c');
				await until(() => same.told.length > 1, 'the change');
				expect([here.names, same.names, other.names]).toEqual([
					['join a'],
					['join a', 'join c'],
					['join b']
				]);
				same.stop();
				const again = await watching(one, channel);
				await two.leave(channel, 'p', 'c');
				await until(() => again.told.length, 'the change');
				expect([same.told.length, again.names]).toEqual([2, ['leave c']]);
			}
		},
		{
			name: 'what is too large to be announced is checked',
			async run(context) {
				const { log: channel } = context;
				const [one, two] = [await open(context), await open(context)];
				const watcher = await watching(two, channel);
				const { checks } = watcher;
				const data = JSON.stringify({ text: '€'.repeat(100_000) });
				await join(one, channel, 'p', 'x', { data });
				await until(() => watcher.told.length || watcher.checks > checks, 'to be told');
				for (const { member } of watcher.told) expect(member.data).toBe(data);
				expect((await two.members(channel))[0]!.data).toBe(data);
			}
		},
		{
			name: 'changes that are applied by their versions lead to the same members',
			async run(context) {
				const { log: channel } = context;
				const stores = [await open(context), await open(context)];
				const watchers = [await watching(stores[0]!, channel), await watching(stores[1]!, channel)];
				await Promise.all(
					Array.from({ length: 200 }, async (_, n) => {
						const store = stores[n % 2]!;
						const id = `${n % 7}`;
						if (n % 3 === 0) await join(store, channel, `p${n % 4}`, id, { streams: n });
						else if (n % 3 === 1) await store.update(channel, [{ id, data: `{"n":${n}}` }]);
						else await store.leave(channel, `p${n % 4}`, id);
					})
				);
				await join(stores[0]!, channel, 'p', 'last');
				const members = await stores[0]!.members(channel);
				for (const { told } of watchers) {
					await until(() => told.some(({ member }) => member.id === 'last'), 'the last change');
					const known = new Map<string, PresenceChange>();
					for (const change of told) {
						const { id, version } = change.member;
						if ((known.get(id)?.member.version ?? 0) < version) known.set(id, change);
					}
					const shown = [...known.values()].flatMap(({ type, member }) =>
						type === 'leave' ? [] : [member]
					);
					const byId = (a: PresenceMember, b: PresenceMember): number => (a.id < b.id ? -1 : 1);
					expect(shown.sort(byId)).toEqual([...members].sort(byId));
				}
			}
		},
		{
			name: 'a listener checks when its line is back',
			needs: ['stop', 'start'],
			async run(context) {
				const { log: channel } = context;
				const store = await open(context);
				const watcher = await watching(store, channel);
				const { checks } = watcher;
				await driver.stop!();
				await driver.start!();
				await until(() => watcher.checks > checks, 'the check', NOTICE_MS);
				await until(
					async () => (await outcome(() => join(store, channel, 'p', 'x', { streams: 2 }))).value,
					'the server to answer',
					NOTICE_MS
				);
				await until(() => watcher.names.includes('join x'), 'the change');
			}
		},
		{
			name: 'a server that forgot everything takes members anew',
			needs: ['flush'],
			async run(context) {
				const { log: channel } = context;
				const store = await open(context);
				const owner = `${channel} owner`;
				const { member } = await join(store, channel, owner, 'x');
				await driver.flush!();
				expect(await store.members(channel)).toEqual([]);
				expect(await store.renew(owner, HOUR_MS)).toBe(0);
				const again = await join(store, channel, owner, 'x');
				expect([again.isNew, again.member.version > member.version]).toEqual([true, true]);
				expect(await store.renew(owner, SHORT_MS)).toBe(1);
				expect(await reaped([store], [channel], 1)).toEqual([`${channel} x`]);
			}
		},
		{
			name: 'a call to a server that does not answer fails in time',
			needs: ['freeze', 'thaw'],
			async run(context) {
				const backend: RealtimeBackend = await context.connect();
				const store = backend.presence!;
				await join(store, context.log, 'p', 'x');
				await driver.freeze!();
				try {
					const { error, tookMs } = await outcome(() => store.members(context.log));
					expect(error instanceof Error).toBe(true);
					expect(tookMs < (backend.timeoutMs ?? 2_000) + 1_500).toBe(true);
				} finally {
					await driver.thaw!();
				}
				await until(async () => {
					const { value } = await outcome(() => store.members(context.log));
					return (value as PresenceMember[] | undefined)?.length === 1;
				}, 'the server to answer again');
			}
		}
	];
	register(driver, runner, cases);
}
