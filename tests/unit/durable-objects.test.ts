import { expect, test, vi } from 'vitest';
import {
	createRealtimeHub,
	durableObjectBackend,
	type ObjectNamespaceLike
} from '../../src/lib/cloudflare/index.js';
import { createRealtime } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { clientAt } from '../support/upstream.js';

/** A binding that writes down which objects are asked. */
function binding(): ObjectNamespaceLike & { asked: string[] } {
	const asked: string[] = [];
	return {
		asked,
		idFromName: (name) => name,
		get: (name: never) => ({
			async fetch() {
				asked.push(name);
				return Response.json({ value: null });
			}
		})
	};
}

test('in a process the hub of the process serves, and one line says so', async () => {
	const info = vi.spyOn(console, 'info').mockImplementation(() => {});
	const found = vi.fn();
	const realtime = createRealtime({
		inngest: clientAt('http://127.0.0.1:1'),
		backend: durableObjectBackend(found),
		channels: { demo: { channel: demoChannel, source: false, authorize: () => true } }
	});
	const { isDuplicate } = await realtime.emit(demoChannel().message, { message: 'here' });
	expect(isDuplicate).toBe(false);
	expect(realtime.stats().hub.backend).toBe(undefined);
	expect(found).not.toHaveBeenCalled();
	expect(info.mock.calls.map(([text]) => String(text))).toEqual([
		expect.stringContaining('the hub of this process serves all streams')
	]);
	realtime.close();
	info.mockRestore();
});

test('channels are spread by hash, or as a function says, and always alike', async () => {
	const [one, other, named] = [binding(), binding(), binding()];
	const logs = Array.from({ length: 40 }, (_, n) => JSON.stringify([`channel ${n}`, 'entry', {}]));
	const backends = [
		durableObjectBackend(one, { shards: 4 }),
		durableObjectBackend(other, { shards: 4 }),
		durableObjectBackend(named, { shards: (channel) => channel.at(-1)!, prefix: 'app' })
	];
	for (const { replay } of backends) for (const log of logs) await replay.clear!(log);
	expect(other.asked).toEqual(one.asked);
	expect([...new Set(one.asked)].sort()).toEqual(
		[0, 1, 2, 3].map((shard) => `sveltekit-inngest:${shard}`)
	);
	expect(named.asked.slice(0, 3)).toEqual(['app:0', 'app:1', 'app:2']);
});

test('before the binding is known, calls say how it is made known', async () => {
	const backend = durableObjectBackend((platform: { env: { HUB: ObjectNamespaceLike } }) => {
		return platform.env.HUB;
	});
	await expect(backend.idempotency.begin('id', { hash: '', leaseMs: 1 })).rejects.toMatchObject({
		code: 'BACKEND',
		message: expect.stringContaining('backend.use(event.platform)')
	});
	const HUB = binding();
	expect(backend.use({ env: { HUB } })).toBe(true);
	await backend.idempotency.begin('id', { hash: '', leaseMs: 1 });
	expect(HUB.asked).toEqual(['sveltekit-inngest:0']);
});

test.each([NaN, Infinity, '', undefined, null, {}, () => {}])(
	'a function that names the object %s is told so, with the channel',
	async (answer) => {
		const hub = binding();
		const { replay } = durableObjectBackend(hub, { shards: () => answer as never });
		await expect(replay.bounds('["orders","entry",{}]')).rejects.toMatchObject({
			code: 'INVALID_OPTION',
			message: expect.stringContaining('"orders"')
		});
		expect(hub.asked).toEqual([]);
	}
);

test.each([-1, 1e9, 'x'])('a function may name the object %s', async (answer) => {
	const hub = binding();
	await durableObjectBackend(hub, { shards: () => answer }).replay.clear!('["orders","entry",{}]');
	expect(hub.asked).toEqual([`sveltekit-inngest:${answer}`]);
});

test.each([
	['shards', () => durableObjectBackend(binding(), { shards: 0 })],
	['shards', () => durableObjectBackend(binding(), { shards: NaN })],
	['shards', () => durableObjectBackend(binding(), { shards: 1e9 })],
	['timeoutMs', () => durableObjectBackend(binding(), { timeoutMs: 0 })],
	['binding', () => durableObjectBackend({} as never)],
	['binding', () => durableObjectBackend(undefined as never)],
	['maxEvents', () => createRealtimeHub({ maxEvents: 0 })],
	['lingerMs', () => createRealtimeHub({ lingerMs: -1 })]
])('what cannot work is refused: %s', (name, make) => {
	expect(make).toThrow(
		expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(name) })
	);
});
