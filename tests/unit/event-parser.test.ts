import { expect, test } from 'vitest';
import { createEventParser, type StreamEvent } from '../../src/lib/client/transport/events.js';
import { seeded } from '../support/random.js';

function parse(pieces: Iterable<string>): { events: StreamEvent[]; retries: number[] } {
	const events: StreamEvent[] = [];
	const retries: number[] = [];
	const feed = createEventParser(
		(event) => events.push(event),
		(ms) => retries.push(ms)
	);
	for (const piece of pieces) feed(piece);
	return { events, retries };
}

function* cut(text: string, size: () => number): Generator<string> {
	for (let at = 0; at < text.length;) {
		const end = at + size();
		yield text.slice(at, end);
		at = end;
	}
}

test('a stream reads the same however it is cut, and whatever ends its lines', () => {
	const lines = [
		': comment',
		'retry: 250',
		'id: 1',
		'event: message',
		'data: one',
		'data:two',
		'data',
		'',
		'data: {"a":"b:c"}',
		'',
		'event: lost',
		'',
		'id: a\0b',
		'data: x',
		'',
		''
	];
	const events = [
		{ event: 'message', id: '1', data: 'one\ntwo\n' },
		{ event: 'message', id: undefined, data: '{"a":"b:c"}' },
		{ event: 'message', id: undefined, data: 'x' }
	];
	const random = seeded(7);
	for (const end of ['\n', '\r\n', '\r']) {
		const text = lines.join(end);
		expect(parse([text])).toEqual({ events, retries: [250] });
		expect(parse(text)).toEqual({ events, retries: [250] });
		for (let round = 0; round < 200; round++) {
			// Empty pieces come of bytes that are half a character.
			const pieces = [...cut(text, () => Math.floor(random() * 5))];
			expect(parse(pieces)).toEqual({ events, retries: [250] });
		}
	}
});

test.each([1_460, 100])(
	'a message of 1 MB in pieces of %d bytes takes no longer than its size',
	(size) => {
		const data = 'x'.repeat(2 ** 20);
		const text = `event: message\ndata: ${data}\n\n`;
		const start = performance.now();
		const { events } = parse(cut(text, () => size));
		// Searched again with every piece, it took 2.7 s and 41 s.
		expect(performance.now() - start).toBeLessThan(1_000);
		expect(events[0]?.data).toBe(data);
	}
);
