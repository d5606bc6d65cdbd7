const UNITS_MS: Record<string, number> = {
	w: 604_800_000,
	d: 86_400_000,
	h: 3_600_000,
	m: 60_000,
	s: 1_000,
	ms: 1,
	us: 0.001,
	µs: 0.001,
	ns: 0.000_001
};

const PART = /(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|ns|w|d|h|m|s)/y;

/** Milliseconds of a duration such as `1d2h30m`, or `undefined` if the text is not a duration. */
export function parseDuration(text: string): number | undefined {
	if (text === '' || text === '0') return 0;
	let sum = 0;
	PART.lastIndex = 0;
	while (PART.lastIndex < text.length) {
		const part = PART.exec(text);
		if (!part) return undefined;
		sum += Number(part[1]) * UNITS_MS[part[2]!]!;
	}
	return sum;
}

/** Milliseconds from now until the end of a sleep given as a duration or a date. */
export function parseSleep(text: string): number | undefined {
	const at = text.length >= 10 ? Date.parse(text) : NaN;
	// The real server rounds dates to the second.
	if (!Number.isNaN(at)) return Math.max(0, Math.round((at - Date.now()) / 1_000) * 1_000);
	return parseDuration(text);
}

/**
 * When a `retry-after` header says to try again, in milliseconds since the epoch: at least one second
 * from now, at most a day.
 */
export function parseRetryAfter(text: string): number | undefined {
	const now = Math.floor(Date.now() / 1_000) * 1_000;
	const seconds = text.length <= 7 ? Number.parseInt(text, 10) : NaN;
	const at = seconds > 0 ? now + seconds * 1_000 : Date.parse(text);
	if (Number.isNaN(at)) return undefined;
	const waitMs = at - Date.now();
	if (waitMs > UNITS_MS.d!) return now + UNITS_MS.d!;
	return waitMs < 1_000 ? now + 1_000 : at;
}
