import { afterEach, expect, test } from 'vitest';
import { demoChannel } from '../support/channels.js';
import { People, Watcher, type Instance } from '../support/people.js';
import { openStream } from '../support/sse.js';
import { eventually } from '../support/wait.js';

let people = new People();
afterEach(async () => {
	await people.close();
	people = new People();
});

const start = (options: Parameters<People['start']>[0] = {}): Promise<Instance> =>
	people.start({
		...options,
		identify: ({ event }) => {
			const id = event.request.headers.get('x-user');
			return id ? { id, role: id === 'alice' ? 'admin' : 'user' } : null;
		}
	});

interface Ask {
	topic: string;
	id: string;
	data?: unknown;
	isOver?: boolean;
}

const asks = ({ reader }: Watcher): Ask[] =>
	reader.frames.flatMap(({ event, data }) =>
		(event as string) === 'ask' ? [data as unknown as Ask] : []
	);

const answer = (instance: Instance, body: object, user = 'alice'): Promise<Response> =>
	fetch(instance.server.url, {
		method: 'POST',
		headers: { 'content-type': 'application/json', 'x-user': user },
		body: JSON.stringify({ answer: body })
	});

test('emitTo reaches every stream of a member, in every process, and no other', async () => {
	const [one, other] = [await start(), await start()];
	const first = await one.watch('alice');
	const second = await other.watch('alice');
	const bob = await other.watch('bob');
	const deaf = await other.watch('alice', { topics: ['admin-message'] });
	for (const { reader } of [first, second, bob, deaf]) await reader.connected();
	const topic = demoChannel().message;
	expect(await one.realtime.emitTo('alice', topic, { message: 'hi' })).toBe(2);
	for (const { reader } of [first, second]) await reader.when(() => reader.texts.includes('hi'));
	expect(await other.realtime.emitTo({ role: 'user' }, topic, { message: 'users' })).toBe(1);
	await bob.reader.when(() => bob.reader.texts.includes('users'));
	expect(await one.realtime.emitTo('nobody', topic, { message: 'x' })).toBe(0);
	expect(await one.realtime.emitTo({}, topic, { message: 'x' })).toBe(0);
	await expect(one.realtime.emitTo('alice', topic, { message: 1 } as never)).rejects.toMatchObject({
		code: 'INVALID_MESSAGE'
	});
	expect([first, second, bob, deaf].map(({ reader }) => reader.texts)).toEqual([
		['hi'],
		['hi'],
		['users'],
		[]
	]);
	// It is in no log, and moves nobody's cursor.
	expect(first.reader.frames.find(({ event }) => event === 'message')!.id).toBeUndefined();
});

test('emitTo and isOnline count over three processes', async () => {
	const processes = [await start(), await start(), await start()];
	const watchers = [];
	for (const process of [...processes, processes[0]!]) {
		const watcher = await process.watch('alice');
		await watcher.reader.connected();
		watchers.push(watcher);
	}
	await processes[1]!.watch('bob');
	const topic = demoChannel().message;
	for (const [n, { realtime }] of processes.entries()) {
		expect(await realtime.emitTo('alice', topic, { message: `from ${n}` })).toBe(4);
		expect(await realtime.isOnline('alice')).toBe(true);
		expect(await realtime.readers(demoChannel)).toBe(5);
	}
	for (const { reader } of watchers) {
		await reader.when(() => reader.texts.length === 3);
		expect(reader.texts).toEqual(['from 0', 'from 1', 'from 2']);
	}
	expect(await processes[2]!.realtime.remove(demoChannel, 'alice', 'Enough')).toBe(4);
	expect(await processes[2]!.realtime.isOnline('alice')).toBe(false);
});

test('a check of each message covers what is sent to one reader, and what it is asked', async () => {
	const options = {
		reauthorizeOnEachMessage: true,
		channels: {
			demo: {
				channel: demoChannel,
				source: false,
				authorize: () => true,
				reauthorize: ({ message }: { message: { data: unknown } }) =>
					!JSON.stringify(message.data).includes('secret')
			}
		}
	} as Parameters<People['start']>[0];
	const [one, other] = [await start(options), await start(options)];
	const open = async (): Promise<Watcher> => {
		const reader = await openStream(other.server.url, { channel: 'demo' }, { 'x-user': 'alice' });
		await reader.connected();
		return new Watcher(reader, 'alice', other.server.url);
	};
	const topic = demoChannel().message;
	const first = await open();
	const asked = one.realtime.ask('alice', topic, { message: 'sure?' });
	await eventually(() => asks(first).length === 1);
	await answer(one, { id: asks(first)[0]!.id, data: 'yes' });
	expect(await asked).toBe('yes');
	await expect(
		one.realtime.ask('alice', topic, { message: 'secret' }, { timeoutMs: 500 })
	).rejects.toMatchObject({ code: 'DENIED' });
	await first.reader.end();
	expect(first.reader.health().at(-1)).toMatchObject({ fatal: true, code: 403 });
	expect(first.reader.frames.some(({ data }) => JSON.stringify(data).includes('secret'))).toBe(
		false
	);
	const second = await open();
	await one.realtime.emitTo('alice', topic, { message: 'secret' });
	await second.reader.end();
	expect(second.reader.texts).toEqual([]);
});

test('ask resolves with the first answer, and tells the others that it is over', async () => {
	const [one, other] = [await start(), await start()];
	const first = await one.watch('alice');
	const second = await other.watch('alice');
	const bob = await other.watch('bob');
	for (const { reader } of [first, second, bob]) await reader.connected();
	const asked = one.realtime.ask('alice', demoChannel().message, { message: 'sure?' });
	await eventually(() => asks(second).length === 1 && asks(first).length === 1);
	const [{ id, topic, data }] = asks(second) as [Ask];
	expect({ topic, data }).toEqual({ topic: 'message', data: { message: 'sure?' } });
	// Nobody answers for another, not even who knows the question.
	for (const user of ['bob', '']) {
		const refused = await answer(one, { id, data: { yes: false } }, user);
		expect(refused.status).toBe(403);
		expect(await refused.text()).toContain('Somebody else was asked');
	}
	// Its request may reach any process.
	expect((await answer(one, { id, data: { yes: true } })).status).toBe(204);
	expect(await asked).toEqual({ yes: true });
	await eventually(() => asks(first).some(({ isOver }) => isOver));
	await eventually(() => asks(second).some(({ isOver }) => isOver));
	expect(asks(bob)).toEqual([]);
});

test('ask says why there is no answer', async () => {
	const [one, other] = [await start(), await start()];
	const alice = await other.watch('alice', { topics: ['message'] });
	await alice.reader.connected();
	const { message, 'admin-message': admin } = demoChannel();
	const data = { message: 'x' };
	const options = { timeoutMs: 300 };
	await expect(one.realtime.ask('nobody', message, data, options)).rejects.toMatchObject({
		code: 'NOBODY'
	});
	await expect(one.realtime.ask('alice', admin, data, options)).rejects.toMatchObject({
		code: 'DENIED'
	});
	await expect(one.realtime.ask('alice', message, data, options)).rejects.toMatchObject({
		code: 'TIMEOUT'
	});
	const failing = one.realtime.ask('alice', message, data);
	failing.catch(() => {});
	await eventually(() => asks(alice).filter(({ isOver }) => !isOver).length === 2);
	const { id } = asks(alice).findLast(({ isOver }) => !isOver)!;
	await answer(other, { id, error: 'Broken' });
	await expect(failing).rejects.toMatchObject({ code: 'HANDLER' });
	await expect(failing).rejects.toThrow('Broken');
});
