import { describe, expect, it } from 'vitest';
import { compact, decodeUtf8, isJson, quote, timestamp } from '../../src/lib/dev/gojson.js';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe('UTF-8 is read as Go reads it', () => {
	it('keeps whole characters of every length, and a byte order mark', () => {
		for (const text of ['', 'plain', 'é', '€', '😀', '\uFEFFa', '\u{10FFFF}', '\uFFFD']) {
			expect(decodeUtf8(Buffer.from(text))).toBe(text);
		}
	});

	it('replaces every byte that belongs to no character by one U+FFFD', () => {
		const cases: [Uint8Array, string][] = [
			[bytes(0xf0, 0x9f, 0x98), '\uFFFD\uFFFD\uFFFD'],
			[bytes(0x98, 0x80, 0x79), '\uFFFD\uFFFDy'],
			[bytes(0x61, 0xff, 0x62), 'a\uFFFDb'],
			[bytes(0xc0, 0x80), '\uFFFD\uFFFD'],
			[bytes(0xe0, 0x80, 0x80), '\uFFFD\uFFFD\uFFFD'],
			[bytes(0xed, 0xa0, 0x80), '\uFFFD\uFFFD\uFFFD'],
			[bytes(0xf4, 0x90, 0x80, 0x80), '\uFFFD\uFFFD\uFFFD\uFFFD'],
			[bytes(0xe2, 0x82, 0x41), '\uFFFD\uFFFDA']
		];
		for (const [input, text] of cases) expect(decodeUtf8(input)).toBe(text);
	});
});

describe('JSON is written as Go writes it', () => {
	it('escapes what could end a script, and line separators', () => {
		expect(quote('<a href="x">&\u2028\u2029</a>')).toBe(
			'"\\u003ca href=\\"x\\"\\u003e\\u0026\\u2028\\u2029\\u003c/a\\u003e"'
		);
	});

	it('loses white space between tokens and nothing else', () => {
		const cases = [
			['{ "a" : [ 1.0 , 2e5 ] ,\n\t"a": null }', '{"a":[1.0,2e5],"a":null}'],
			['"  kept  \\" < \\\\"', '"  kept  \\" \\u003c \\\\"'],
			['"\u2028é😀"', '"\\u2028é😀"'],
			['7', '7']
		];
		for (const [input, output] of cases) {
			expect(compact(Buffer.from(input!)).toString()).toBe(output);
		}
	});

	it('keeps bytes that are no characters, as the real server does', () => {
		const json = Buffer.from([0x22, 0xff, 0xe2, 0x22]);
		expect(isJson(json)).toBe(true);
		expect(compact(json)).toEqual(json);
	});

	it('knows one JSON value from anything else', () => {
		for (const text of ['1', ' "a" ', '{}', 'null']) expect(isJson(Buffer.from(text))).toBe(true);
		for (const text of ['', 'a', '{"a":', '1 2', '\uFEFF1']) {
			expect(isJson(Buffer.from(text)), text).toBe(false);
		}
	});
});

it('timestamps grow, by nanoseconds, and stay near the clock', () => {
	let last = '';
	for (let n = 0; n < 1_000; n++) {
		const now = timestamp();
		expect(now).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$/);
		expect(Math.abs(Date.parse(now) - Date.now())).toBeLessThan(10_000);
		expect(now).not.toBe(last);
		last = now;
	}
});
