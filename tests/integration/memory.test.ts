import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { buildApp, startApp, type App } from '../support/child/start.js';
import { RawClient } from '../support/raw.js';
import { eventually } from '../support/wait.js';

let bundle: Awaited<ReturnType<typeof buildApp>>;
let engine: InngestDev;
let app: App;
let client: RawClient;
beforeAll(async () => {
	bundle = await buildApp();
	engine = await startInngestDev();
});
afterEach(() => {
	client.leave();
	app.process.kill('SIGKILL');
});
afterAll(async () => {
	await engine.close();
	await bundle.remove();
});

const MIB = 1024 * 1024;

/** A stream of which nothing is read after `connected`. */
async function stall(): Promise<void> {
	client = await RawClient.open(app.url);
	client.post({ channel: 'demo' });
	await eventually(() => client.text.includes('"connected"'));
	client.stall();
}

async function publish(count: number): Promise<void> {
	const data = { message: 'x'.repeat(40_000) };
	const { messages } = (await app.ask('stats')).hub;
	for (let n = 0; n < count; n++) {
		engine.publish({ channel: 'demo', topic: 'message', data });
		if (n % 20 === 0) await new Promise(setImmediate);
	}
	while ((await app.ask('stats')).hub.messages < messages + count);
}

test('160 MB published to a stalled stream leave the process where it was', async () => {
	app = await startApp(bundle.file, { engineUrl: engine.url, replay: { maxBytes: MIB } });
	// The first time code is compiled, and heaps and buffers grow to the size that they keep.
	await stall();
	await publish(600);
	client.leave();
	await stall();
	const before = await app.ask('memory');
	await publish(4_000);
	const after = await app.ask('memory');
	expect(await app.ask('stats')).toMatchObject({ streams: 0, slowReaders: 2 });
	expect((after.heap - before.heap) / MIB).toBeLessThan(5);
	expect((after.rss - before.rss) / MIB).toBeLessThan(20);
});
