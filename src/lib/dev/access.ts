import type { IncomingHttpHeaders } from 'node:http';

const LOOPBACK = /^(?:localhost|(?:[^.]+\.)+localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/**
 * Decides who may use the engine. It has no keys, so any page in the developer's browser could trigger
 * functions or make the engine send requests: directly, or with a host name that resolves to this machine.
 */
export class Access {
	readonly #allowed: ReadonlySet<string>;

	/** @param allowedHosts Names of hosts besides loopback, without a port. */
	constructor(allowedHosts: readonly string[]) {
		this.#allowed = new Set(allowedHosts.map((host) => host.toLowerCase()));
	}

	/** The text for a refused request, or `undefined`. */
	refuse({ host, origin }: IncomingHttpHeaders): string | undefined {
		const refused = !this.#accepts(`http://${host ?? ''}`)
			? `the host "${host ?? ''}"`
			: origin !== undefined && !this.#accepts(origin)
				? `pages of the origin "${origin}"`
				: undefined;
		if (refused === undefined) return undefined;
		return `The embedded Inngest dev engine accepts no requests for ${refused}. If they are yours, add the host to the option allowedHosts.`;
	}

	#accepts(origin: string): boolean {
		if (!URL.canParse(origin)) return false;
		const { protocol, hostname } = new URL(origin);
		if (protocol !== 'http:' && protocol !== 'https:') return false;
		return LOOPBACK.test(hostname) || this.#allowed.has(hostname);
	}
}
