import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import { HttpError, readBody, reply } from '../http.js';
import type { Exchange } from '../http.js';
import { uuidOf } from '../ids.js';
import { printable } from '../printable.js';
import type { DevLogger } from '../types.js';
import type { Warnings } from '../warnings.js';
import { readFunction } from './function.js';
import type { DevFunction } from './function.js';
import { UnsupportedError } from './unsupported.js';

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

/** The registered apps. A registration replaces the earlier one of the same app. */
export class Registry {
	readonly #apps = new Map<string, DevApp>();
	readonly #byId = new Map<string, DevFunction>();
	readonly #warnings: Warnings;
	readonly #logger: DevLogger;
	readonly #onChange: (functions: readonly DevFunction[]) => void;
	/** How often an app has registered. */
	registrations = 0;
	/** How often a registration was refused, with the reason in the log. */
	refusals = 0;
	/** Why the last registration was refused. */
	#refusal: string | undefined;

	/** @param onChange Called with all functions when an app has changed its functions. */
	constructor(
		warnings: Warnings,
		logger: DevLogger,
		onChange: (functions: readonly DevFunction[]) => void
	) {
		this.#warnings = warnings;
		this.#logger = logger;
		this.#onChange = onChange;
	}

	get apps(): DevApp[] {
		return [...this.#apps.values()];
	}

	get functions(): DevFunction[] {
		return this.apps.flatMap((app) => app.functions);
	}

	/** The function with this id, as it is registered now. */
	find(id: string): DevFunction | undefined {
		return this.#byId.get(id);
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
		if (modified) this.#replace(app);
		this.registrations++;
		this.#refusal = undefined;
		reply(response, 200, { ok: true, modified, sync_id: randomUUID(), app_id: app.uuid });
	}

	#replace(app: DevApp): void {
		this.#apps.set(app.name, app);
		const { functions } = this;
		this.#byId.clear();
		for (const fn of functions) this.#byId.set(fn.id, fn).set(fn.uuid, fn);
		this.#onChange(functions);
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
		const uuid = uuidOf(appName);
		return {
			uuid,
			name: appName,
			url: url ?? '',
			sdk: sdk ?? '',
			framework: framework ?? '',
			functions: (functions ?? []).map((item) => this.#readFunction(item, uuid)),
			checksum: checksum(value)
		};
	}

	#readFunction(value: unknown, appUuid: string): DevFunction {
		try {
			return readFunction(value, appUuid, this.#warnings);
		} catch (error) {
			if (error instanceof UnsupportedError) {
				this.#refuse('warn', error.message);
				throw new HttpError(400, error.message);
			}
			const { id } = (value ?? {}) as { id?: unknown };
			const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
			this.#refuse('error', `Function "${String(id)}" is invalid. ${why}`);
			throw new HttpError(400, 'At least one function is invalid');
		}
	}

	/** Logs why a registration is refused, but not again while the app only repeats it. */
	#refuse(level: 'warn' | 'error', why: string): void {
		this.refusals++;
		if (why === this.#refusal) return;
		this.#refusal = why;
		this.#logger[level](`[inngest dev] The app was not registered. ${printable(why)}`);
	}
}

/** The registration, without fields that the SDK only observes about itself. */
function checksum(value: unknown): string {
	const registered = { ...(value as Record<string, unknown>), featureObservations: undefined };
	return createHash('sha256').update(JSON.stringify(registered)).digest('hex');
}

/** Versions of the SDK that the real server refuses as well. */
function isBlocked(sdk: string): boolean {
	const [, minor, patch] = /^(?:inngest-)?js:v?3\.(\d+)\.(\d+)$/.exec(sdk) ?? [];
	if (minor === undefined) return false;
	return (
		Number(minor) >= 22 && (Number(minor) < 53 || (Number(minor) === 53 && Number(patch) <= 1))
	);
}
