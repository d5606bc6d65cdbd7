/** The mark of the embedded engine in the answer to `GET /dev`. */
export const EMBEDDED_VERSION = 'sveltekit-inngest';

const TIMEOUT_MS = 1_000;

/** An Inngest dev server that answers. */
export interface FoundEngine {
	url: string;
	/** Whether it is the embedded engine of another process. */
	embedded: boolean;
	/** URLs at which it has been told to look for apps. */
	appUrls: string[];
}

/** The Inngest dev server at `url`, or `undefined` if none answers. */
export async function findEngine(url: string): Promise<FoundEngine | undefined> {
	try {
		const response = await fetch(new URL('/dev', url), { signal: AbortSignal.timeout(TIMEOUT_MS) });
		const info: unknown = await response.json();
		if (typeof info !== 'object' || info === null) return undefined;
		if (!('version' in info && 'startOpts' in info && 'functions' in info)) return undefined;
		const { urls } = (info.startOpts ?? {}) as { urls?: unknown };
		return {
			url: new URL(url).origin,
			embedded: info.version === EMBEDDED_VERSION,
			appUrls: Array.isArray(urls) ? urls.map(String) : []
		};
	} catch {
		return undefined;
	}
}

/**
 * The host and port under which a dev server calls the app that is served at `appUrl`. A dev server in a
 * container was started with its own name for the same port and path, such as
 * `http://host.docker.internal:5173/api/inngest`.
 */
export function hostFor({ appUrls }: FoundEngine, appUrl: string): string {
	const { host, port, pathname } = new URL(appUrl);
	const told = appUrls
		.map((url) => (url.includes('://') ? url : `http://${url}`))
		.filter((url) => URL.canParse(url))
		.map((url) => new URL(url))
		.find((url) => url.port === port && url.pathname === pathname);
	return told?.host ?? host;
}
