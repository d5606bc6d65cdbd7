import type { DevLogger } from './types.js';

const FULL_ENGINE = 'For the full engine run "npx inngest-cli@latest dev".';

/** Says each thing that this engine does not do once, however often a function is registered or run. */
export class Warnings {
	readonly #logger: DevLogger;
	readonly #said = new Set<string>();

	constructor(logger: DevLogger) {
		this.#logger = logger;
	}

	/** Warns that `functionId` asks for `feature`; returns the text. */
	unsupported(functionId: string, feature: string, consequence: string): string {
		const text = `Function "${functionId}" uses ${feature}, which the embedded Inngest dev engine does not support: ${consequence}. ${FULL_ENGINE}`;
		this.once(text);
		return text;
	}

	/** Warns, unless it was said before. */
	once(text: string): void {
		if (this.#said.has(text)) return;
		this.#said.add(text);
		this.#logger.warn(`[inngest dev] ${text}`);
	}
}
