/**
 * Sets environment variables for the app. Its Inngest client reads `process.env`, which neither Vite nor
 * SvelteKit fills from `.env` files. `restore()` puts back the values from before.
 */
export class AppEnvironment {
	readonly #before = new Map<string, string | undefined>();
	readonly #offered = new Set<string>();

	set(name: string, value: string): void {
		if (!this.#before.has(name)) this.#before.set(name, process.env[name]);
		this.#offered.delete(name);
		process.env[name] = value;
	}

	/** Sets variables that are not set yet. */
	offer(values: Record<string, string>): void {
		for (const [name, value] of Object.entries(values)) {
			if (process.env[name] !== undefined && !this.#offered.has(name)) continue;
			this.set(name, value);
			this.#offered.add(name);
		}
	}

	restore(): void {
		for (const [name, value] of this.#before) {
			if (value === undefined) delete process.env[name];
			else process.env[name] = value;
		}
		this.#before.clear();
	}
}

/** The Inngest server that the environment names. */
export function readEnvironment(): { cloud: boolean; url: string | undefined } {
	const mode = process.env.INNGEST_DEV;
	const cloud = mode === '0' || mode?.toLowerCase() === 'false';
	const devUrl = mode && URL.canParse(mode) ? mode : undefined;
	return { cloud, url: process.env.INNGEST_BASE_URL || devUrl };
}
