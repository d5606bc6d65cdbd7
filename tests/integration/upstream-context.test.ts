import { channel, topic } from '@inngest/realtime';
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { MemoryReplayStore } from '../../src/lib/server/index.js';
import { clientAt, Endpoint, ScriptedServer, story, until } from '../support/upstream.js';

const storage = new AsyncLocalStorage<string>();
let server: ScriptedServer;
let endpoint: Endpoint;
let requests: number;
beforeEach(async () => {
	requests = 0;
	server = await ScriptedServer.start();
});
afterEach(async () => {
	await endpoint.close();
	await server.close();
});

/** Each request runs in a context of its own, as SvelteKit's `getRequestEvent()` needs. */
const inContext: Parameters<typeof Endpoint.start>[2] = {
	around: (_event, next) => {
		// It goes on as the body is read, as it does where a server has a context of its own.
		storage.enterWith(`request ${++requests}`);
		return next();
	}
};

test("the upstream runs outside of every request's context, whichever request caused it", async () => {
	const seen = new Map<string, Set<string>>();
	const note = (what: string): void => {
		const contexts = seen.get(what) ?? new Set();
		seen.set(what, contexts.add(storage.getStore() ?? 'none'));
	};
	const schema = z.object({ message: z.string() }).refine(() => (note('validator'), true));
	const definition = channel((id: string) => `watched:${id}`).addTopic(
		topic('message').schema(schema)
	);
	class Store extends MemoryReplayStore {
		override append(...args: Parameters<MemoryReplayStore['append']>): readonly string[] {
			note('append');
			return super.append(...args);
		}
		override bounds(
			...args: Parameters<MemoryReplayStore['bounds']>
		): ReturnType<MemoryReplayStore['bounds']> {
			note('bounds');
			return super.bounds(...args);
		}
	}
	const client = clientAt(server.url, {
		fetch: (...args: Parameters<typeof fetch>) => (note('fetch'), fetch(...args))
	});
	endpoint = await Endpoint.start(
		client,
		{
			replay: new Store(),
			lingerMs: 0,
			channels: {
				watched: {
					channel: definition,
					channelParams: (_event: unknown, id: string) => id.split(':')[1],
					authorize: () => (note('authorize'), true)
				}
			} as never,
			onFailure: () => note('onFailure')
		},
		inContext
	);
	const first = await endpoint.open({ channel: 'watched:1' });
	await first.connected();
	const second = await endpoint.open({ channel: 'watched:2' });
	await second.connected();
	const publish = (): void => {
		server.publish('watched:1', 'message', { message: 'one' });
		server.publish('watched:2', 'message', { message: 'two' });
	};
	publish();
	await second.when(() => second.messages.length === 1, 'a message');
	server.last.drop();
	await first.when(() => story(first).filter((event) => event === 'connected').length === 2);
	await second.when(() => story(second).filter((event) => event === 'connected').length === 2);
	second.close();
	await until(() => endpoint.realtime.stats().hub.feeds === 1, 'the end of a feed');
	const third = await endpoint.open({ channel: 'watched:3' });
	await third.connected();
	publish();
	await first.when(() => first.messages.length === 2, 'another message');
	const contexts = Object.fromEntries([...seen].map(([what, contexts]) => [what, [...contexts]]));
	expect(contexts).toEqual({
		authorize: ['request 1', 'request 2', 'request 3'],
		fetch: ['none'],
		bounds: ['none'],
		append: ['none'],
		validator: ['none'],
		onFailure: ['none']
	});
});
