import { afterEach, expect, test } from 'vitest';
import { demoChannel } from '../support/channels.js';
import { People, type Instance, type Watcher } from '../support/people.js';
import { eventually } from '../support/wait.js';

let people = new People();
afterEach(async () => {
	await people.close();
	people = new People();
});

const start = (): Promise<Instance> =>
	people.start({
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

const answer = (instance: Instance, body: object): Promise<Response> =>
	fetch(instance.server.url, {
		method: 'POST',
		headers: { 'content-type': 'application/json' },
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
