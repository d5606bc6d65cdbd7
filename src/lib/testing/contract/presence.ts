import type {
	PresenceChange,
	PresenceListener,
	PresenceMember,
	PresenceStore
} from '../../server/backend/presence.js';
import {
	register,
	until,
	type BackendDriver,
	type CaseContext,
	type ContractCase,
	type TestRunner
} from './driver.js';

const MINUTE_MS = 60_000;
/** A lease that a case waits for. */
const SHORT_MS = 400;

/** A listener that writes down what it is told. */
class Recorder implements PresenceListener {
	readonly told: PresenceChange[] = [];
	checks = 0;

	changes(changes: readonly PresenceChange[]): void {
		this.told.push(...changes);
	}

	check(): void {
		this.checks++;
	}

	get words(): string {
		return this.told.map(({ type, member: { id } }) => `${type} ${id}`).join();
	}
}

/** The contract of a {@link PresenceStore}: what presence and the reach of `emitTo` rely on. */
export function presenceContract(driver: BackendDriver, runner: TestRunner): void {
	const { expect } = runner;

	async function open({ connect }: CaseContext): Promise<PresenceStore> {
		const { presence } = await connect();
		if (!presence) throw new TypeError('The backend has no `presence`.');
		return presence;
	}

	const lease = { leaseMs: MINUTE_MS };
	const alice = { id: 'alice', data: '{"name":"Älice\\n"}', streams: 1 };
	const bob = { id: 'bob', data: '{}', streams: 1 };
	const ids = (members: readonly PresenceMember[]): string => members.map(({ id }) => id).join();
	/** Owners of other cases must not be renewed or reaped by this one. */
	const owners = ({ log }: CaseContext): [string, string] => [`${log} one`, `${log} two`];

	const cases: ContractCase[] = [
		{
			name: 'who joins is a member in every process, once, with its data',
			async run(context) {
				const [one, other] = [await open(context), await open(context)];
				const [first, second] = owners(context);
				const joined = await one.join(context.log, first, alice, lease);
				expect(joined).toMatchObject({ isFull: false, isNew: true });
				// One that is there keeps its data.
				const again = { ...alice, data: '{"other":1}', streams: 2 };
				expect(await other.join(context.log, second, again, lease)).toMatchObject({
					isNew: false,
					member: { ...alice, streams: 3 }
				});
				const [member, ...others] = await other.members(context.log);
				expect(others).toEqual([]);
				expect(member!).toMatchObject({ ...alice, streams: 3 });
				expect(Math.abs(member!.joinedAt - Date.now()) < MINUTE_MS).toBe(true);
				expect(await one.members(`${context.log} another`)).toEqual([]);
			}
		},
		{
			name: 'of many who join with one id at once, one is new',
			async run(context) {
				const stores = await Promise.all(Array.from({ length: 4 }, () => open(context)));
				const joined = await Promise.all(
					Array.from({ length: 20 }, (_, n) =>
						stores[n % 4]!.join(context.log, `${context.log} ${n}`, alice, lease)
					)
				);
				expect(joined.filter((result) => !result.isFull && result.isNew).length).toBe(1);
				expect((await stores[0]!.members(context.log))[0]!.streams).toBe(20);
			}
		},
		{
			name: 'members are the oldest first, and leave with their last process',
			async run(context) {
				const store = await open(context);
				const [first, second] = owners(context);
				await store.join(context.log, first, bob, lease);
				await new Promise((resolve) => setTimeout(resolve, 5));
				await store.join(context.log, first, alice, lease);
				await store.join(context.log, second, alice, lease);
				expect(ids(await store.members(context.log))).toBe('bob,alice');
				expect(await store.leave(context.log, first, 'alice')).toBe(null);
				expect(ids(await store.members(context.log))).toBe('bob,alice');
				expect(await store.leave(context.log, second, 'alice')).toMatchObject({ id: 'alice' });
				expect(await store.leave(context.log, second, 'alice')).toBe(null);
				expect(ids(await store.members(context.log))).toBe('bob');
			}
		},
		{
			name: 'of those who come at once, no more than `maxMembers` join',
			async run(context) {
				const stores = [await open(context), await open(context)];
				const [owner] = owners(context);
				const joined = await Promise.all(
					Array.from({ length: 10 }, (_, n) =>
						stores[n % 2]!.join(
							context.log,
							owner,
							{ ...bob, id: `m${n}` },
							{ ...lease, maxMembers: 3 }
						)
					)
				);
				expect(joined.filter(({ isFull }) => !isFull).length).toBe(3);
				const members = await stores[0]!.members(context.log);
				expect(members.length).toBe(3);
				// One that is a member already needs no room.
				const again = { ...members[0]!, streams: 2 };
				expect(
					await stores[0]!.join(context.log, owner, again, { ...lease, maxMembers: 3 })
				).toMatchObject({ isFull: false, isNew: false });
			}
		},
		{
			name: 'an update reaches members only, and the newest stays',
			async run(context) {
				const store = await open(context);
				const [owner] = owners(context);
				await store.join(context.log, owner, alice, lease);
				await store.update(context.log, [
					{ id: 'alice', data: '{"x":1}' },
					{ id: 'nobody', data: '{"x":1}' }
				]);
				await store.update(context.log, [{ id: 'alice', data: '{"x":2}' }]);
				const members = await store.members(context.log);
				expect(members.map(({ id, data }) => `${id} ${data}`)).toEqual(['alice {"x":2}']);
			}
		},
		{
			name: 'listeners of every process hear of changes in order, with versions that rise',
			async run(context) {
				const [one, other] = [await open(context), await open(context)];
				const [first, second] = owners(context);
				const recorders = [new Recorder(), new Recorder()];
				const stops = [one, other].map((store, n) => store.listen(context.log, recorders[n]!));
				// A line may need a moment.
				await until(async () => {
					const probe = { ...bob, id: 'probe' };
					await one.join(context.log, first, probe, lease);
					await one.leave(context.log, first, 'probe');
					return recorders.every(({ told }) => told.some(({ type }) => type === 'leave'));
				}, 'the listeners');
				await new Promise((resolve) => setTimeout(resolve, 100));
				for (const recorder of recorders) recorder.told.length = 0;
				await one.join(context.log, first, alice, lease);
				await other.join(context.log, second, alice, lease);
				await one.update(context.log, [{ id: 'alice', data: '{"x":1}' }]);
				await one.leave(context.log, first, 'alice');
				await other.leave(context.log, second, 'alice');
				const words = 'join alice,update alice,update alice,update alice,leave alice';
				for (const recorder of recorders) {
					await until(() => recorder.told.length >= 5, 'five changes');
					expect(recorder.words).toBe(words);
					const versions = recorder.told.map(({ member }) => member.version);
					expect(versions).toEqual([...versions].sort((a, b) => a - b));
					expect(new Set(versions).size).toBe(5);
					expect(recorder.told.map(({ member }) => member.streams).slice(0, 4)).toEqual([
						1, 2, 2, 1
					]);
				}
				for (const stop of stops) stop();
				await one.join(context.log, first, bob, lease);
				await new Promise((resolve) => setTimeout(resolve, 100));
				expect(recorders.map(({ told }) => told.length)).toEqual([5, 5]);
			}
		},
		{
			name: 'saying the same again is no change',
			async run(context) {
				const store = await open(context);
				const [owner] = owners(context);
				await store.join(context.log, owner, alice, lease);
				const [before] = await store.members(context.log);
				await store.join(context.log, owner, alice, lease);
				expect((await store.members(context.log))[0]!.version).toBe(before!.version);
			}
		},
		{
			name: 'a lease that is not renewed runs out, and exactly one process announces the leave',
			async run(context) {
				const [one, other] = [await open(context), await open(context)];
				const [dead, alive] = owners(context);
				await one.join(context.log, dead, alice, { leaseMs: SHORT_MS });
				await one.join(context.log, dead, bob, { leaseMs: SHORT_MS });
				await one.join(context.log, alive, bob, { leaseMs: SHORT_MS });
				expect(await one.renew(alive, MINUTE_MS)).toBe(1);
				await new Promise((resolve) => setTimeout(resolve, SHORT_MS + 50));
				// It is gone before anybody reaps it.
				expect(ids(await other.members(context.log))).toBe('bob');
				const reaped = (
					await Promise.all([one.reap(), other.reap(), one.reap(), other.reap()])
				).flat();
				const own = reaped.filter(({ channel }) => channel === context.log);
				expect(own.length).toBe(1);
				expect(own[0]!.member).toMatchObject({ id: 'alice', data: alice.data });
				expect((await one.members(context.log))[0]!.streams).toBe(1);
				expect(await other.renew(dead, MINUTE_MS)).toBe(0);
			}
		},
		{
			name: 'a member whose lease ran out is new when it joins again',
			async run(context) {
				const store = await open(context);
				const [owner] = owners(context);
				await store.join(context.log, owner, alice, { leaseMs: SHORT_MS });
				await new Promise((resolve) => setTimeout(resolve, SHORT_MS + 50));
				await store.reap();
				const joined = await store.join(context.log, owner, alice, lease);
				expect(joined).toMatchObject({ isNew: true });
			}
		},
		{
			name: 'listeners hear of a member that is back before its lost lease was reaped',
			async run(context) {
				const [one, other] = [await open(context), await open(context)];
				const [owner] = owners(context);
				const recorder = new Recorder();
				const stop = other.listen(context.log, recorder);
				await new Promise((resolve) => setTimeout(resolve, 200));
				await one.join(context.log, owner, alice, { leaseMs: SHORT_MS });
				await until(() => recorder.told.length === 1, 'the join');
				await new Promise((resolve) => setTimeout(resolve, SHORT_MS + 50));
				expect(await one.renew(owner, MINUTE_MS)).toBe(0);
				expect(await other.members(context.log)).toEqual([]);
				await one.join(context.log, owner, alice, lease);
				await until(() => recorder.told.length >= 2, 'another change');
				const { type, member } = recorder.told.at(-1)!;
				expect(type === 'leave').toBe(false);
				expect(member).toMatchObject(alice);
				stop();
			}
		},
		{
			name: 'a renewal may shorten leases, as a process does that stops',
			async run(context) {
				const store = await open(context);
				const [owner] = owners(context);
				await store.join(context.log, owner, alice, lease);
				expect(await store.renew(owner, SHORT_MS)).toBe(1);
				await until(
					async () => (await store.members(context.log)).length === 0,
					'the lease to run out'
				);
			}
		},
		{
			name: 'a listener whose line was restored is told to check',
			needs: ['stop', 'start'],
			async run(context) {
				const store = await open(context);
				const recorder = new Recorder();
				const stop = store.listen(context.log, recorder);
				await new Promise((resolve) => setTimeout(resolve, 200));
				const before = recorder.checks;
				await driver.stop!();
				await driver.start!();
				await until(() => recorder.checks > before, 'a check', 20_000);
				stop();
			}
		}
	];
	register(driver, runner, cases);
}
