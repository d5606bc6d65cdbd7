/** What tells the embedded engine from others in the answer to `GET /dev`. */
export const EMBEDDED_VERSION = 'sveltekit-inngest';

const TIMEOUT_MS = 1_000;

/** An Inngest dev server that answers. */
export interface FoundEngine {
	url: string;
	/** Whether it is an embedded engine, of another process. */
	embedded: boolean;
	/** Whether an app that is served at a path of this name is known to it. */
	knows(path: string): boolean;
}

/** The Inngest dev server at `url`, or `undefined` where none answers. */
export async function findEngine(url: string): Promise<FoundEngine | undefined> {
	try {
		const response = await fetch(new URL('/dev', url), { signal: AbortSignal.timeout(TIMEOUT_MS) });
		const text = await response.text();
		const info: unknown = JSON.parse(text);
		if (typeof info !== 'object' || info === null) return undefined;
		if (!('version' in info && 'startOpts' in info && 'functions' in info)) return undefined;
		return {
			url: new URL(url).origin,
			embedded: info.version === EMBEDDED_VERSION,
			knows: (path) => text.includes(path)
		};
	} catch {
		return undefined;
	}
}
