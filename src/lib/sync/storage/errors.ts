import { RealtimeError } from '../../protocol/errors.js';

/** What an error of Dexie says, and that of IndexedDB behind it. */
function texts(error: unknown): string {
	const { name, message, inner } = (error ?? {}) as {
		name?: string;
		message?: string;
		inner?: unknown;
	};
	return `${name}: ${message}${inner && inner !== error ? ` ${texts(inner)}` : ''}`;
}

/** Whether the connection to IndexedDB is gone, so that another one may do better. */
export function isLost(error: unknown): boolean {
	return /database server lost|DatabaseClosed|connection is clos|InvalidStateError|UnknownError/i.test(
		texts(error)
	);
}

/** An error of IndexedDB by its name; any other as it is. */
export function namedError(error: unknown, name: string): unknown {
	if (error instanceof RealtimeError) return error;
	const text = texts(error);
	const options = { cause: error };
	if (/Quota/.test(text)) {
		return new RealtimeError(
			'SYNC_QUOTA',
			`The local copy "${name}" is full: the browser gives it no more space. Free some, or sync fewer rows.`,
			options
		);
	}
	if (
		isLost(error) ||
		/MissingAPI|OpenFailed|SecurityError|VersionError|NotFoundError/.test(text)
	) {
		return new RealtimeError(
			'SYNC_STORAGE',
			`The local copy "${name}" cannot be opened or was closed (${text}). Reload the page; in a private window, pass \`memory\`.`,
			options
		);
	}
	return error;
}
