import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import { HttpError, readBody, reply } from '../http.js';
import type { Exchange } from '../http.js';
import { uuidOf } from '../ids.js';
import type { DevLogger } from '../types.js';
import type { Warnings } from '../warnings.js';
import { readFunction } from './function.js';
import type { DevFunction } from './function.js';

const MAX_REGISTRATION_BYTES = 16 * 1024 * 1024;

const registration = z.looseObject({
	url: z.string().nullish(),
	appName: z.string().nullish(),
	sdk: z.string().nullish(),
	framework: z.string().nullish(),
	functions: z.array(z.unknown()).nullish()
});

/** An app whose functions this engine runs. */
export interface DevApp {
	uuid: string;
	name: string;
	url: string;
	sdk: string;
	framework: string;
	functions: DevFunction[];
	checksum: string;
}

/** The apps that registered. A registration replaces what the same app registered before. */
export class Registry {
	readonly #apps = new Map<string, DevApp>();
	readonly #warnings: Warnings;
	readonly #logger: DevLogger;
	/** How often an app has registered. */
	registrations = 0;

	constructor(warnings: Warnings, logger: DevLogger) {
		this.#warnings = warnings;
		this.#logger = logger;
	}

	get apps(): DevApp[] {
		return [...this.#apps.values()];
	}

	get functions(): DevFunction[] {
		return this.apps.flatMap((app) => app.functions);
	}

	/** The function of this id, in either form. */
	find(id: string): DevFunction | undefined {
		return this.functions.find((fn) => fn.id === id || fn.uuid === id);
	}

	/** `POST /fn/register` */
	async register({ request, response }: Exchange): Promise<void> {
		const expected = request.headers['x-inngest-expected-server-kind'];
		if (expected && expected !== 'dev') {
			return reply(response, 400, { error: `Expected server kind dev, got ${String(expected)}` });
		}
		const body = await readBody(request, MAX_REGISTRATION_BYTES);
		let app: DevApp;
		try {
			app = this.#read(JSON.parse(body.toString('utf8')));
		} catch (error) {
			if (error instanceof HttpError) throw error;
			return reply(response, 400, { error: `Invalid request: ${(error as Error).message}` });
		}
		const modified = this.#apps.get(app.name)?.checksum !== app.checksum;
		if (modified) this.#apps.set(app.name, app);
		this.registrations++;
		reply(response, 200, { ok: true, modified, sync_id: randomUUID(), app_id: app.uuid });
	}

	#read(value: unknown): DevApp {
		const { url, appName, sdk, framework, functions } = registration.parse(value);
		if (!appName) throw new HttpError(400, 'App ID required');
		if (isBlocked(sdk ?? '')) {
			throw new HttpError(
				400,
				'App sync was blocked because this application is using an Inngest JavaScript SDK with a known security vulnerability. Please upgrade to v3.54.0 or later. See more information: https://www.inngest.com/blog/cve-2026-42047'
			);
		}
		return {
			uuid: uuidOf(appName),
			name: appName,
			url: url ?? '',
			sdk: sdk ?? '',
			framework: framework ?? '',
			functions: (functions ?? []).map((item) => this.#readFunction(item)),
			checksum: checksum(value)
		};
	}

	#readFunction(value: unknown): DevFunction {
		try {
			return readFunction(value, this.#warnings);
		} catch (error) {
			const { id } = (value ?? {}) as { id?: unknown };
			const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
			this.#logger.error(`[inngest dev] Function "${String(id)}" is invalid: ${why}`);
			throw new HttpError(400, 'At least one function is invalid');
		}
	}
}

/** What is registered, apart from what an SDK only observes about itself. */
function checksum(value: unknown): string {
	const registered = { ...(value as Record<string, unknown>), featureObservations: undefined };
	return createHash('sha256').update(JSON.stringify(registered)).digest('hex');
}

/** Versions that the real server refuses, too. */
function isBlocked(sdk: string): boolean {
	const [, minor, patch] = /^(?:inngest-)?js:v?3\.(\d+)\.(\d+)$/.exec(sdk) ?? [];
	if (minor === undefined) return false;
	return (
		Number(minor) >= 22 && (Number(minor) < 53 || (Number(minor) === 53 && Number(patch) <= 1))
	);
}
