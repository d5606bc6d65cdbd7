import type { RequestEvent } from '@sveltejs/kit';
import { MAX_BODY_BYTES } from '../../protocol/constants.js';
import { Failure, thrownStatus } from '../failure/failure.js';
import { detached } from '../runtime/context.js';
import { inTime } from '../runtime/deadline.js';
import { unref } from '../runtime/runtime.js';

/**
 * How many bytes of a body are read, even if they are dropped: many clients read the answer only after they
 * have sent everything.
 */
const MAX_READ_BYTES = 256 * MAX_BODY_BYTES;

/** How long, in milliseconds, a body may take to arrive. */
const READ_MS = 30_000;

/** How long, in milliseconds, a client that is still sending has to read the answer. */
const LINGER_MS = 1_000;

/**
 * Reads the body of a POST.
 *
 * @param maxBytes Anything beyond this is dropped.
 * @throws {Failure} `request-validation` 400 or 408, or `admission` 413.
 */
export async function readBody(
	{ request, platform, isSubRequest }: RequestEvent,
	maxBytes: number
): Promise<{ text: string; bytes: number }> {
	if (!request.body) return { text: '', bytes: 0 };
	const reader = request.body.getReader();
	let bytes = 0;
	const read = async (): Promise<string> => {
		const decoder = new TextDecoder();
		let text = '';
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return text + decoder.decode();
			bytes += value.byteLength;
			if (bytes <= maxBytes) text += decoder.decode(value, { stream: true });
			else if (bytes > MAX_READ_BYTES) throw tooLarge();
		}
	};
	try {
		if (Number(request.headers.get('content-length')) > MAX_READ_BYTES) throw tooLarge();
		const late = (): Failure => (bytes > maxBytes ? tooLarge() : tooSlow());
		const text = await inTime(read(), READ_MS, late);
		if (bytes <= maxBytes) return { text, bytes };
	} catch (error) {
		// SvelteKit's adapters have their own limit and drop everything beyond it.
		const isDropped = !(error instanceof Failure) && thrownStatus(error, 400) === 413;
		const { req } = (platform ?? {}) as { req?: NodeBody };
		detached(() =>
			unref(
				setTimeout(
					() => cut(reader, isSubRequest ? undefined : req),
					isDropped ? READ_MS : LINGER_MS
				)
			)
		);
		if (error instanceof Failure) throw error;
		if (!isDropped) {
			throw new Failure('request-validation', 400, 'The request body could not be read', {
				cause: error
			});
		}
	}
	throw tooLarge();
}

/** The part of Node's request that we use. */
interface NodeBody {
	/** Whether all of it has arrived. */
	complete?: boolean;
	destroy?(): void;
}

/** Stops the rest of a body that is still arriving. */
function cut(reader: ReadableStreamDefaultReader<Uint8Array>, req: NodeBody | undefined): void {
	reader.cancel().catch(() => {});
	if (req?.complete === false) req.destroy?.();
}

function tooSlow(): Failure {
	return new Failure(
		'request-validation',
		408,
		`The request body did not arrive within ${READ_MS / 1_000} s.`
	);
}

/** The failure of a body with too many bytes. */
export function tooLarge(): Failure {
	return new Failure(
		'admission',
		413,
		`A request body may have at most ${MAX_BODY_BYTES} bytes, not counting its cursors.`
	);
}
