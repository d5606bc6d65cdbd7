import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import { Recorder, ScriptedServer, timestamp, sourceAt, until } from '../support/upstream.js';

let server: ScriptedServer;
let upstream: RealtimeSource;
let listener: Recorder;
let drops: number;
const unhandled: unknown[] = [];
const onUnhandled = (error: unknown): void => void unhandled.push(error);
beforeEach(async () => {
	drops = 0;
	process.on('unhandledRejection', onUnhandled);
	server = await ScriptedServer.start();
	upstream = sourceAt(server.url, { onDrop: () => void drops++ });
	listener = new Recorder('a');
	upstream.listen(listener);
	await listener.whenLive();
});
afterEach(async () => {
	upstream.close();
	await server.close();
	process.off('unhandledRejection', onUnhandled);
	expect(unhandled.splice(0)).toEqual([]);
});

/** Sends a sound message and waits for it: what was sent before has been read. */
async function drained(): Promise<void> {
	const count = listener.data().length;
	server.publish('a', 't', 'sound');
	await until(() => listener.data().length > count, 'a sound message');
}

const sound = { kind: 'data', channel: 'a', topic: 't', data: 1, created_at: timestamp() };

test.each([
	['no JSON', '{"kind":"data"'],
	['raw bytes of a tee', 'event: x\ndata: y\n\n'],
	['an empty frame', ''],
	['null', 'null'],
	['a number', '7'],
	['a list', '[{"kind":"data"}]'],
	['no kind', '{"channel":"a","topic":"t","data":1}'],
	['an unknown kind', JSON.stringify({ ...sound, kind: 'event' })],
	['a kind that is no text', JSON.stringify({ ...sound, kind: { toString: 1 } })],
	['no channel', JSON.stringify({ ...sound, channel: undefined })],
	['a channel that is no text', JSON.stringify({ ...sound, channel: 7 })],
	['no topic', JSON.stringify({ ...sound, topic: '' })],
	['a data stream without an id', JSON.stringify({ ...sound, kind: 'datastream-start', data: '' })],
	['a data stream with a wrong id', JSON.stringify({ ...sound, kind: 'datastream-start' })],
	['a piece of no known stream', '{"kind":"chunk","stream_id":"unknown","data":"x"}'],
	['a piece without a stream', '{"kind":"chunk","data":"x"}']
])('%s is counted and dropped', async (_, frame) => {
	server.last.send(frame);
	await drained();
	expect(drops).toBe(1);
	expect(listener.data()).toEqual(['sound']);
	expect(listener.events).toEqual(['live']);
});

test('a binary frame is counted and dropped', async () => {
	server.last.socket.send(Buffer.from(JSON.stringify(sound)));
	await drained();
	expect(drops).toBe(1);
	expect(listener.data()).toEqual(['sound']);
});

test('a piece of a data stream that is no text is counted and dropped', async () => {
	server.last.send({ ...sound, kind: 'datastream-start', data: 's' });
	server.last.send({ kind: 'chunk', stream_id: 's', data: { text: 1 } });
	await drained();
	expect(drops).toBe(1);
	expect(listener.messages.map(({ kind }) => kind)).toEqual(['datastream-start', 'data']);
});

test.each(['ping', 'pong', 'sub', 'unsub'])('a `%s` message means nothing', async (kind) => {
	server.last.send({ kind, data: null });
	await drained();
	expect(drops).toBe(0);
});

test('odd values in other fields do not keep a message from arriving', async () => {
	server.last.send({ ...sound, created_at: 7, run_id: {}, fn_id: null, env_id: [], metadata: 1 });
	await until(() => listener.messages.length === 1, 'the message');
	expect(listener.messages[0]).toMatchObject({ data: 1, createdAt: undefined, runId: undefined });
});

test('a message of a topic that nobody asked for goes nowhere', async () => {
	server.last.message('a', 'other', 1);
	server.last.message('b', 't', 1);
	await drained();
	expect(listener.messages).toHaveLength(1);
});

test('data nested too deep to be written again passes through a change of sockets', async () => {
	const deep = '['.repeat(9_000) + ']'.repeat(9_000);
	const frame = JSON.stringify({ ...sound, data: '?' }).replace('"?"', deep);
	const old = server.last;
	server.answersPings = false;
	old.closing();
	await until(() => server.last !== old && server.last.heldPings.length === 1, 'the next socket');
	old.send(frame);
	await until(() => listener.messages.length === 1, 'the message');
	server.last.send(frame);
	server.answersPings = true;
	server.answerPings();
	await until(() => !server.open.includes(old), 'the change');
	await drained();
	expect(listener.messages).toHaveLength(2);
});

test('a frame past the limit ends the socket, and the next one is told as a gap', async () => {
	server.last.message('a', 't', 'x'.repeat(5 * 1024 * 1024));
	await until(() => listener.events.includes('lost'), 'the loss');
	expect(listener.errors[0]?.message).toMatch(/Max payload size exceeded/);
	await listener.whenLive();
	await drained();
	expect(listener.data()).toEqual(['sound']);
	expect(listener.events).toEqual(['live', 'lost', 'live']);
});

test('a message as large as Inngest lets through arrives', async () => {
	const text = '\u0001'.repeat(512 * 1024 - 2);
	server.publish('a', 't', text);
	await until(() => listener.messages.length === 1, 'the message');
	expect(listener.data()[0] === text).toBe(true);
});

test('text that is no UTF-8 ends the socket and nothing else', async () => {
	server.last.socket.send(Buffer.from([0x22, 0xff, 0xfe, 0x22]), { binary: false });
	await until(() => listener.events.includes('lost'), 'the loss');
	await listener.whenLive();
	await drained();
});
