import { afterEach, beforeEach, expect, test } from 'vitest';
import { MemoryReplayStore, type ReplayStore } from '../../src/lib/server/index.js';
import { clientAt, Endpoint, ScriptedServer, story } from '../support/upstream.js';

let server: ScriptedServer;
let endpoint: Endpoint;
beforeEach(async () => void (server = await ScriptedServer.start()));
afterEach(async () => {
	await endpoint.close();
	await server.close();
});

const publish = (message: string): void => server.publish('demo', 'message', { message });

/** A store on another machine that can lose all it has. */
class ForgetfulStore implements ReplayStore {
	appends = 0;
	#memory = new MemoryReplayStore();

	forget(): void {
		this.#memory = new MemoryReplayStore();
	}

	async append(
		...[channel, events]: Parameters<ReplayStore['append']>
	): Promise<readonly string[]> {
		this.appends++;
		return this.#memory.append(channel, events);
	}
	async since(...[channel, cursor]: Parameters<ReplayStore['since']>) {
		return this.#memory.since(channel, cursor);
	}
	async bounds(channel: string) {
		return this.#memory.bounds(channel);
	}
}

test('a store that lost a log while it was read is a gap, and what comes after is sent', async () => {
	const replay = new ForgetfulStore();
	endpoint = await Endpoint.start(clientAt(server.url), { replay });
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	publish('1');
	await stream.when(() => stream.messages.length === 1, 'a message');
	replay.forget();
	publish('2');
	publish('3');
	await stream.when(() => story(stream).includes('resync upstream-gap'), 'the gap');
	publish('4');
	await stream.when(() => story(stream).includes('4'), 'a message after the gap');
	expect(story(stream).filter((one) => one !== 'resync upstream-gap')).toEqual([
		'connecting',
		'connected',
		'1',
		'2',
		'3',
		'4'
	]);
	expect(replay.appends).toBeLessThan(10);
});
