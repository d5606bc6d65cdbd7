import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
	durableObjectBackend,
	type ObjectNamespaceLike
} from '../../../src/lib/cloudflare/index.js';
import {
	busContract,
	idempotencyContract,
	presenceContract,
	rateLimitContract,
	replayContract,
	type BackendDriver
} from '../../../src/lib/testing/contract/index.js';
import { WorkersWorld } from '../../support/workers/world.js';

let world: WorkersWorld;
/** A line to the object that is cut, or that nothing comes through any more. */
let state: 'open' | 'cut' | 'frozen' = 'open';
const cuts = new Set<() => void>();

beforeAll(async () => {
	world = await WorkersWorld.start();
}, 60_000);
afterAll(() => world?.close());

/** The object's binding in this process, behind a line that can break. */
const binding: ObjectNamespaceLike = {
	idFromName: (name) => name,
	get: (name: never) => ({
		async fetch(_url: string, init: RequestInit): Promise<Response> {
			const cut = new AbortController();
			const end = (): void => cut.abort(new Error('The line was cut.'));
			cuts.add(end);
			if (state === 'cut') throw new Error('The line is cut.');
			while (state === 'frozen') await new Promise((resolve) => setTimeout(resolve, 20));
			const response = await fetch(`${world.hubUrl}call?object=${encodeURIComponent(name)}`, {
				...init,
				signal: AbortSignal.any([cut.signal, init.signal!])
			});
			if (!response.body || !response.ok) return response;
			const pace = new TransformStream<Uint8Array, Uint8Array>({
				async transform(chunk, controller) {
					while (state === 'frozen') await new Promise((resolve) => setTimeout(resolve, 20));
					controller.enqueue(chunk);
				}
			});
			return new Response(response.body.pipeThrough(pace), response);
		}
	})
};

const driver: BackendDriver = {
	connect: () => durableObjectBackend(binding, { timeoutMs: 3_000 }),
	async stop() {
		state = 'cut';
		for (const cut of cuts) cut();
		cuts.clear();
		await world.object('evict');
	},
	start: () => void (state = 'open'),
	freeze: () => void (state = 'frozen'),
	thaw: () => void (state = 'open'),
	flush: async () => void (await world.object('flush')),
	save() {},
	// The storage of an object does not lose what it has answered.
	knownGaps: ['a restart that loses the end of the log is noticed, also when others were faster']
};

const forPart = (names: readonly string[]): BackendDriver => ({
	...driver,
	knownGaps: driver.knownGaps!.filter((gap) => names.includes(gap))
});

describe('replay in a Durable Object', () => replayContract(driver, { it, expect }));
describe('the bus of a Durable Object', () => busContract(forPart([]), { it, expect }));
describe('presence in a Durable Object', () => presenceContract(forPart([]), { it, expect }));
describe('rates in a Durable Object', () => rateLimitContract(forPart([]), { it, expect }));
describe('what ran, in a Durable Object', () => idempotencyContract(forPart([]), { it, expect }));
