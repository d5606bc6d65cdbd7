/** One event of an event stream. */
export interface StreamEvent {
	event: string;
	id: string | undefined;
	data: string;
}

/**
 * Reads an event stream as the HTML standard describes it, fed with its text in pieces of any size. We wrote
 * it because a general parser would take a fifth of the client's size limit.
 *
 * @param onRetry Called with the server's `retry:`, in milliseconds.
 */
export function createEventParser(
	onEvent: (event: StreamEvent) => void,
	onRetry: (ms: number) => void
): (text: string) => void {
	let isAfterCr = false;
	/**
	 * A line whose end has not arrived. It is only appended to and never searched again: a line may come in
	 * 10,000 pieces.
	 */
	let unfinished = '';
	let event: string | undefined;
	let id: string | undefined;
	let data: string | undefined;

	function readLine(line: string): void {
		if (!line) {
			if (data !== undefined) onEvent({ event: event || 'message', id, data });
			event = id = data = undefined;
			return;
		}
		const [, name, value = ''] = /^([^:]*):? ?(.*)/s.exec(line) as string[];
		if (name === 'data') data = data === undefined ? value : `${data}\n${value}`;
		else if (name === 'event') event = value;
		else if (name === 'id' && !value.includes('\0')) id = value;
		else if (name === 'retry' && /^\d+$/.test(value)) onRetry(Number(value));
	}

	return (text) => {
		if (!text) return;
		// A CR ends a line at once; a LF that follows in the next piece belongs to it.
		const lines = (isAfterCr ? text.replace(/^\n/, '') : text).split(/\r\n?|\n/);
		isAfterCr = text.endsWith('\r');
		lines[0] = unfinished + lines[0];
		unfinished = lines.pop() as string;
		lines.forEach(readLine);
	};
}
