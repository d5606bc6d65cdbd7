import { RealtimeError } from '../../protocol/errors.js';
import { unref } from '../runtime/runtime.js';

/** The parts of an Inngest client that this package uses; both SDK generations have them. */
export interface InngestClient {
	id: string;
	env?: string | null;
}

/** A topic as Inngest's realtime API names it. */
export interface UpstreamTopic {
	channel: string;
	name: string;
}

/** Inngest's answer: a token that is valid for 60 s, and the environment of its topics. */
export interface UpstreamToken {
	jwt: string;
	/** `null` if the token cannot be read; topics then cannot be unsubscribed. */
	envId: string | null;
}

/** The API client inside an Inngest client: inngest 3 has plain fields that are filled late, 4 has getters. */
interface InngestApi {
	getTargetUrl(path: string): Promise<URL>;
	hashedKey?: string;
	hashedFallbackKey?: string | undefined;
	fetch?: typeof fetch;
	_fetch?: () => typeof fetch;
}

const TIMEOUT_MS = 10_000;
const CLOUD = 'https://api.inngest.com';
const WHAT_TO_SET =
	'In development, add inngestDev() to vite.config.ts or set INNGEST_DEV=1; in production, set INNGEST_SIGNING_KEY.';
const HOW_TO_START =
	'In development, add inngestDev() to vite.config.ts or start `npx inngest-cli dev`.';
const TIMEOUT_TEXT = `none within ${TIMEOUT_MS / 1000} s`;

/** Talks to the realtime API of one Inngest client. Keys and URL are read at each call, as they may come late. */
export class TokenClient {
	readonly #inngest: InngestClient;
	/** Outcomes of the requests so far. */
	readonly counts = { given: 0, failed: 0 };

	/** @throws {RealtimeError} `INVALID_OPTION` when `inngest` is not an Inngest client. */
	constructor(inngest: InngestClient) {
		this.#inngest = inngest;
		if (typeof this.#api?.getTargetUrl !== 'function') {
			throw new RealtimeError(
				'INVALID_OPTION',
				'`inngest` is not an Inngest client: pass the object that `new Inngest({ id })` of inngest 3.42 or later returns.'
			);
		}
	}

	get #api(): InngestApi {
		return (this.#inngest as unknown as { inngestApi: InngestApi }).inngestApi;
	}

	/**
	 * Requests a token for topics of any number of channels.
	 *
	 * @throws {RealtimeError} `TOKEN` with the reason: refused, server error or no answer; the reason of
	 *   `signal` when that aborts.
	 */
	async request(topics: readonly UpstreamTopic[], signal: AbortSignal): Promise<UpstreamToken> {
		const limit = new AbortController();
		const abort = (): void => limit.abort(signal.reason);
		const timer = unref(
			setTimeout(() => limit.abort(this.#noAnswer('Inngest', TIMEOUT_TEXT)), TIMEOUT_MS)
		);
		signal.addEventListener('abort', abort);
		if (signal.aborted) abort();
		try {
			// An app's own `fetch` may ignore a signal.
			const token = await Promise.race([
				rejectOnAbort(limit.signal),
				this.#request(topics, limit.signal)
			]);
			this.counts.given++;
			return token;
		} catch (error) {
			// Nobody needs the token of an aborted request.
			if (!signal.aborted) this.counts.failed++;
			throw error;
		} finally {
			clearTimeout(timer);
			signal.removeEventListener('abort', abort);
		}
	}

	/** @returns the URL that a token's socket connects to. */
	async socketUrl(jwt: string): Promise<string> {
		const url = await this.#url('/v1/realtime/connect');
		url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:';
		url.searchParams.set('token', jwt);
		return url.href;
	}

	async #request(topics: readonly UpstreamTopic[], signal: AbortSignal): Promise<UpstreamToken> {
		const url = await this.#url('/v1/realtime/token');
		const body = JSON.stringify(
			topics.map(({ channel, name }) => ({ channel, name, kind: 'run' }))
		);
		let response = await this.#post(url, body, this.#api.hashedKey, signal);
		const fallback = this.#api.hashedFallbackKey;
		if (fallback && (response.status === 401 || response.status === 403)) {
			await response.body?.cancel();
			response = await this.#post(url, body, fallback, signal);
		}
		if (!response.ok) {
			throw this.#refusal(url, response.status, await response.text().catch(() => ''));
		}
		const answer: unknown = await response.json().catch(() => null);
		const jwt = (answer as { jwt?: unknown } | null)?.jwt;
		if (typeof jwt !== 'string') {
			throw new RealtimeError(
				'TOKEN',
				`${url.origin} answered a realtime token request without a token; is it an Inngest server?`
			);
		}
		return { jwt, envId: readEnvironment(jwt) };
	}

	async #url(path: string): Promise<URL> {
		try {
			return await this.#api.getTargetUrl(path);
		} catch (error) {
			throw new RealtimeError(
				'TOKEN',
				`The Inngest client has no valid address: ${(error as Error).message}. Check INNGEST_BASE_URL and INNGEST_DEV.`,
				{ cause: error }
			);
		}
	}

	async #post(
		url: URL,
		body: string,
		key: string | undefined,
		signal: AbortSignal
	): Promise<Response> {
		const headers: Record<string, string> = { 'content-type': 'application/json' };
		if (key) headers.authorization = `Bearer ${key}`;
		if (this.#inngest.env) headers['x-inngest-env'] = this.#inngest.env;
		const request = this.#api._fetch?.() ?? this.#api.fetch ?? fetch;
		try {
			return await request(url.href, { method: 'POST', body, headers, signal });
		} catch (error) {
			const { message, cause } = error as Error;
			throw this.#noAnswer(url.origin, cause instanceof Error ? cause.message : message, error);
		}
	}

	#refusal({ origin }: URL, status: number, text: string): RealtimeError {
		const answer = `(${status} ${text.slice(0, 200)})`;
		if (status !== 401 && status !== 403) {
			return new RealtimeError('TOKEN', `${origin} failed to give a realtime token ${answer}.`);
		}
		const why = this.#isConfigured
			? `check INNGEST_SIGNING_KEY and the environment ${answer}.`
			: `neither INNGEST_DEV nor INNGEST_SIGNING_KEY is set ${answer}. ${WHAT_TO_SET}`;
		return new RealtimeError('TOKEN', `${origin} refused a realtime token: ${why}`);
	}

	#noAnswer(origin: string, why: string, cause?: unknown): RealtimeError {
		const hint =
			origin === CLOUD && !this.#isConfigured
				? `neither INNGEST_DEV nor INNGEST_SIGNING_KEY is set. ${WHAT_TO_SET}`
				: `is Inngest running there? ${HOW_TO_START}`;
		return new RealtimeError(
			'TOKEN',
			`No answer from ${origin} to a realtime token request (${why}); ${hint}`,
			{ cause }
		);
	}

	/** Whether the environment names an Inngest server. */
	get #isConfigured(): boolean {
		if (this.#api.hashedKey) return true;
		return typeof process === 'object' && Boolean(process.env.INNGEST_DEV);
	}
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
	return new Promise((_, reject) => {
		if (signal.aborted) reject(signal.reason as Error);
		signal.addEventListener('abort', () => reject(signal.reason as Error));
	});
}

function readEnvironment(jwt: string): string | null {
	try {
		const payload = jwt.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/');
		const claims = JSON.parse(atob(payload)) as { env?: unknown };
		return typeof claims.env === 'string' ? claims.env : null;
	} catch {
		return null;
	}
}
