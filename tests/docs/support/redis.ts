import { connect } from 'node:net';

type Reply = string | number | null | Reply[];

/** A connection to Redis with the commands that the documented store and its test use. */
export class Redis {
	readonly #socket;
	readonly #waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void }[] = [];
	#text = '';

	constructor(url: string) {
		const { hostname, port } = new URL(url);
		this.#socket = connect(Number(port || 6379), hostname).setEncoding('latin1');
		this.#socket.on('data', (text: string) => {
			this.#text += text;
			this.#read();
		});
		this.#socket.on('error', (error) => {
			for (const { reject } of this.#waiting.splice(0)) reject(error);
		});
	}

	eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown> {
		const { keys, arguments: more } = options;
		return this.#send(['EVAL', script, `${keys.length}`, ...keys, ...more]);
	}

	flush(): Promise<unknown> {
		return this.#send(['FLUSHDB']);
	}

	drop(keys: string[]): Promise<unknown> {
		return this.#send(['DEL', ...keys]);
	}

	close(): void {
		this.#socket.destroy();
	}

	#send(parts: string[]): Promise<Reply> {
		const lines = parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`);
		this.#socket.write(`*${parts.length}\r\n${lines.join('')}`);
		return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
	}

	#read(): void {
		for (;;) {
			const parsed = parse(this.#text, 0);
			if (!parsed) return;
			this.#text = this.#text.slice(parsed.end);
			const waiting = this.#waiting.shift()!;
			if (parsed.error !== undefined) waiting.reject(new Error(parsed.error));
			else waiting.resolve(parsed.reply);
		}
	}
}

/** Parses one reply of the protocol; `undefined` if it is not complete. */
function parse(
	text: string,
	start: number
): { reply: Reply; end: number; error?: string } | undefined {
	const line = text.indexOf('\r\n', start);
	if (line < 0) return undefined;
	const value = text.slice(start + 1, line);
	const end = line + 2;
	switch (text[start]) {
		case '+':
			return { reply: value, end };
		case '-':
			return { reply: null, end, error: value };
		case ':':
			return { reply: Number(value), end };
		case '$': {
			const length = Number(value);
			if (length < 0) return { reply: null, end };
			if (text.length < end + length + 2) return undefined;
			const bytes = Buffer.from(text.slice(end, end + length), 'latin1');
			return { reply: bytes.toString('utf8'), end: end + length + 2 };
		}
		default: {
			const reply: Reply[] = [];
			let next = end;
			for (let left = Number(value); left > 0; left--) {
				const item = parse(text, next);
				if (!item) return undefined;
				reply.push(item.reply);
				next = item.end;
			}
			return { reply, end: next };
		}
	}
}
