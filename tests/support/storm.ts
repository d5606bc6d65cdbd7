import { expect } from 'vitest';
import { z } from 'zod';
import { demoChannel } from './channels.js';
import type { Instance, People, Watcher } from './people.js';
import { seeded } from './random.js';
import { eventually } from './wait.js';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Seeds to run: `SEED=1,2,3` names them, `STORMS=20` says how many; otherwise one by chance. */
export function seeds(): number[] {
	const { SEED, STORMS = '1' } = process.env;
	if (SEED) return SEED.split(',').map(Number);
	return Array.from({ length: Number(STORMS) }, () => Math.floor(Math.random() * 1e9));
}

/** What a storm is made of. */
export interface StormOptions {
	seed: number;
	start(options: object): Promise<Instance>;
	/** Ends a process as SIGKILL does. */
	kill?(instance: Instance): Promise<void> | void;
	processes?: number;
	kills?: boolean;
}

/**
 * Members come, go, reconnect, or are killed with their process, at random. Two seconds after it is quiet,
 * every reader in every process shows exactly the members that are there, once each, nobody has seen two
 * joins of one member without a leave between them, and each join that was told of has its leave.
 */
export async function storm(
	people: People,
	{ seed, start, kill = (instance) => instance.kill(), processes = 3, kills = true }: StormOptions
): Promise<void> {
	const next = seeded(seed);
	const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
	const schema = z.object({ x: z.number() }).partial();
	const options = { heartbeatMs: 900, presence: { graceMs: 250, schema } };
	let alive = await Promise.all(Array.from({ length: processes }, () => start(options)));
	const open = new Map<Watcher, Instance>();
	const all: Watcher[] = [];
	const come = async (user: string): Promise<void> => {
		const instance = pick(alive);
		const watcher = await instance.watch(user);
		open.set(watcher, instance);
		all.push(watcher);
	};
	const go = (watcher: Watcher): void => {
		open.delete(watcher);
		watcher.close();
	};
	const users = ['a', 'b', 'c', 'd', 'e', 'f'];
	for (let round = 0; round < 60; round++) {
		const dice = next();
		if (dice < 0.45 || open.size === 0) await come(pick(users));
		else if (dice < 0.7) go(pick([...open.keys()]));
		else if (dice < 0.9) {
			const watcher = pick([...open.keys()]);
			go(watcher);
			await come(watcher.user);
		} else if (dice < 0.95) {
			await pick([...open.keys()]).send({ data: { x: next() } });
		} else if (round < 50 && kills) {
			const dead = pick(alive);
			alive = alive.filter((instance) => instance !== dead);
			for (const [watcher, instance] of open) if (instance === dead) open.delete(watcher);
			await kill(dead);
			alive.push(await start(options));
		}
		await sleep(next() * 40);
	}
	if (open.size === 0) await come('a');
	const wanted = [...new Set([...open.keys()].map(({ user }) => user))].sort();
	await sleep(2_000);
	for (const watcher of open.keys()) expect(watcher.ids, watcher.user).toEqual(wanted);
	// The watcher throws when a member joins twice.
	for (const watcher of all) void watcher.members;
	for (const { realtime } of alive) {
		expect((await realtime.members(demoChannel)).map(({ id }) => id).sort()).toEqual(wanted);
	}
	for (const watcher of [...open.keys()]) go(watcher);
	await eventually(async () => (await alive[0]!.realtime.members(demoChannel)).length === 0);
	await sleep(500);
	expect(await alive[0]!.realtime.members(demoChannel)).toEqual([]);
	const counts = new Map<string, number>();
	for (const hook of people.hooks) {
		const [name, id] = hook.split(' ') as [string, string];
		counts.set(id, (counts.get(id) ?? 0) + (name === 'join' ? 1 : -1));
	}
	expect(Object.fromEntries(counts)).toEqual(
		Object.fromEntries([...counts.keys()].map((id) => [id, 0]))
	);
}
