import { expect, test, vi } from 'vitest';
import { ResponseBody } from '../../src/lib/server/stream/body.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function makeBody() {
	const events = { start: vi.fn(), drained: vi.fn(), cancel: vi.fn() };
	return { body: new ResponseBody(events), events };
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<string> {
	return new Response(stream).text();
}

test('a reader taken by getReader() gets each chunk, what waits joined, then the end', async () => {
	const { body, events } = makeBody();
	const reader = body.stream.getReader();
	expect(body.stream.locked).toBe(true);
	const first = reader.read();
	expect(events.start).toHaveBeenCalledOnce();
	body.push(bytes('a'));
	expect(await first).toEqual({ done: false, value: bytes('a') });
	body.push(bytes('b'));
	body.push(bytes('c'));
	expect(body.bytes).toBe(2);
	body.end();
	expect(await reader.read()).toEqual({ done: false, value: bytes('bc') });
	expect(await reader.read()).toEqual({ done: true, value: undefined });
	await reader.closed;
});

test('a hook that pipes the body through something finds the same chunks', async () => {
	const { body, events } = makeBody();
	const upper = new TransformStream<Uint8Array, Uint8Array>({
		transform: (chunk, controller) =>
			controller.enqueue(bytes(new TextDecoder().decode(chunk).toUpperCase()))
	});
	events.start.mockImplementation(() => {
		body.push(bytes('one '));
		body.push(bytes('two'));
		body.end();
	});
	expect(await readAll(body.stream.pipeThrough(upper))).toBe('ONE TWO');
});

test('a body that is re-wrapped, teed or iterated over is whole', async () => {
	const { body, events } = makeBody();
	events.start.mockImplementation(() => {
		body.push(bytes('x'));
		body.push(bytes('y'));
		body.end();
	});
	const [left, right] = new Response(body.stream).body!.tee();
	expect(await Promise.all([readAll(left), readAll(right)])).toEqual(['xy', 'xy']);
});

test('nothing starts before somebody reads, and a cancelled body says so once', async () => {
	const { body, events } = makeBody();
	const reader = body.stream.getReader();
	expect(events.start).not.toHaveBeenCalled();
	const waiting = reader.read();
	await reader.cancel();
	expect(await waiting).toEqual({ done: true, value: undefined });
	expect(events.cancel).toHaveBeenCalledOnce();
});

test('a broken body fails the read that waits and those after it', async () => {
	const { body } = makeBody();
	const reader = body.stream.getReader();
	const waiting = reader.read();
	body.error(new Error('too slow'));
	await expect(waiting).rejects.toThrow('too slow');
	await expect(reader.read()).rejects.toThrow('too slow');
});
