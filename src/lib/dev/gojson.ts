/**
 * JSON and UTF-8 as Go's standard library reads and writes them, as far as that differs from JavaScript.
 * Subscribers see the difference: `<` arrives escaped, a split character as one U+FFFD per byte.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ESCAPED: Record<string, string> = {
	'<': '\\u003c',
	'>': '\\u003e',
	'&': '\\u0026',
	'\u2028': '\\u2028',
	'\u2029': '\\u2029'
};

/** A text as a JSON string. */
export function quote(text: string): string {
	return JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, (character) => ESCAPED[character]!);
}

/** A value as JSON. */
export function encode(value: unknown): string {
	return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (character) => ESCAPED[character]!);
}

/** Whether the bytes are one JSON value. */
export function isJson(bytes: Buffer): boolean {
	try {
		JSON.parse(bytes.toString('utf8'));
		return true;
	} catch {
		return false;
	}
}

/** The same JSON without white space between tokens. Numbers and keys stay as they were written. */
export function compact(json: Buffer): Buffer {
	const parts: Buffer[] = [];
	let inString = false;
	let start = 0;
	const replace = (from: number, to: number, text: string): void => {
		parts.push(json.subarray(start, from), Buffer.from(text, 'latin1'));
		start = to;
	};
	for (let i = 0; i < json.length; i++) {
		const byte = json[i]!;
		if (!inString) {
			if (byte === QUOTE) inString = true;
			else if (byte <= 0x20) replace(i, i + 1, '');
		} else if (byte === BACKSLASH) i++;
		else if (byte === QUOTE) inString = false;
		else if (byte === 0x3c || byte === 0x3e || byte === 0x26) {
			replace(i, i + 1, ESCAPED[String.fromCharCode(byte)]!);
		} else if (byte === 0xe2 && json[i + 1] === 0x80 && (json[i + 2]! & 0xfe) === 0xa8) {
			replace(i, i + 3, json[i + 2] === 0xa8 ? '\\u2028' : '\\u2029');
			i += 2;
		}
	}
	if (parts.length === 0) return json;
	parts.push(json.subarray(start));
	return Buffer.concat(parts);
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes as text. Each byte that does not belong to a whole character becomes one U+FFFD. */
export function decodeUtf8(bytes: Uint8Array): string {
	try {
		return strict.decode(bytes);
	} catch {
		let text = '';
		for (let i = 0; i < bytes.length;) {
			const length = characterLength(bytes, i);
			text += length === 0 ? '\uFFFD' : strict.decode(bytes.subarray(i, i + length));
			i += length || 1;
		}
		return text;
	}
}

/** Length in bytes of the character that starts at `at`, or 0 if no whole character starts there. */
function characterLength(bytes: Uint8Array, at: number): number {
	const first = bytes[at]!;
	if (first < 0x80) return 1;
	const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	if (first < 0xc2 || first > 0xf4 || at + length > bytes.length) return 0;
	// These four first bytes restrict the second: no overlong forms, surrogates, or code points above U+10FFFF.
	const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
	const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
	const second = bytes[at + 1]!;
	if (second < low || second > high) return 0;
	for (let i = at + 2; i < at + length; i++) if ((bytes[i]! & 0xc0) !== 0x80) return 0;
	return length;
}

let anchorNs = 0n;

/** The current time as Go writes it: RFC 3339 with nanoseconds, without trailing zeros. */
export function timestamp(): string {
	const elapsedNs = process.hrtime.bigint();
	const wallMs = BigInt(Date.now());
	const driftMs = (anchorNs + elapsedNs) / 1_000_000n - wallMs;
	if (driftMs > 2n || driftMs < -2n) anchorNs = wallMs * 1_000_000n - elapsedNs;
	const nowNs = anchorNs + elapsedNs;
	const seconds = new Date(Number(nowNs / 1_000_000n)).toISOString().slice(0, 19);
	const fraction = String(nowNs % 1_000_000_000n)
		.padStart(9, '0')
		.replace(/0+$/, '');
	return fraction ? `${seconds}.${fraction}Z` : `${seconds}Z`;
}
