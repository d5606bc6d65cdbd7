import { printable } from './printable.js';
import type { DevLogger } from './types.js';

/** What to do if the embedded engine is not enough. */
export const FULL_ENGINE =
	'Use the full Inngest dev server for this: run "npx inngest-cli@latest dev" (or "docker compose up" with the image inngest/inngest), then start Vite again, which finds it at port 8288.';

/** Warns of each thing once, however often a function is registered or run. */
export class Warnings {
	readonly #logger: DevLogger;
	readonly #said = new Set<string>();

	constructor(logger: DevLogger) {
		this.#logger = logger;
	}

	/** Warns that `functionId` uses what this engine does not support; returns the text. */
	unsupported(functionId: string, feature: string, consequence: string): string {
		const text = `${unsupported(functionId, feature)}: ${consequence}. ${FULL_ENGINE}`;
		this.once(text);
		return text;
	}

	/** Warns, unless it has warned of the same before. */
	once(text: string): void {
		if (this.#said.has(text)) return;
		this.#said.add(text);
		this.#logger.warn(`[inngest dev] ${printable(text)}`);
	}
}

/** A text that says that a function uses a feature that this engine does not support. */
export function unsupported(functionId: string, feature: string): string {
	return `Function "${functionId}" uses ${feature}, which the embedded Inngest dev engine does not support`;
}
