import { build } from 'esbuild';
import { Miniflare } from 'miniflare';
import { fileURLToPath } from 'node:url';
import { openStream, type SseReader } from '../sse.js';
import { ScriptedServer } from '../upstream.js';

/** What the object says of itself. */
export interface ObjectStats {
	name: string | null;
	readers: number;
	streams: number;
	questions: number;
	members: number;
	feeds: number;
	sockets: number;
	isBeating: boolean;
	rowsWritten: number;
	requests: number;
	alarm: number | null;
}

/** The isolates of the app that run. `alone` has no binding, `spread` several objects. */
export type Isolate = 'a' | 'b' | 'alone' | 'spread';

async function bundle(name: string): Promise<string> {
	const { outputFiles } = await build({
		entryPoints: [fileURLToPath(new URL(`./${name}.ts`, import.meta.url))],
		bundle: true,
		write: false,
		format: 'esm',
		target: 'es2022',
		conditions: ['workerd', 'worker', 'browser'],
		external: ['ws', 'node:*'],
		logLevel: 'silent'
	});
	return outputFiles[0]!.text;
}

/** The app in two isolates, the Worker with the object, and a scripted Inngest: in the real runtime. */
export class WorkersWorld {
	readonly inngest: ScriptedServer;
	readonly mf: Miniflare;
	/** What the Workers wrote to their consoles. */
	readonly lines: readonly string[];
	readonly #urls: Record<Isolate | 'hub', string>;
	readonly #readers: SseReader[] = [];

	static async start(): Promise<WorkersWorld> {
		const [inngest, app, hub] = await Promise.all([
			ScriptedServer.start(),
			bundle('app'),
			bundle('hub')
		]);
		const worker = (name: string, script: string, more: object) => ({
			name,
			modules: [{ type: 'ESModule', path: `${name}.mjs`, contents: script }],
			compatibilityDate: '2025-06-01',
			compatibilityFlags: ['nodejs_compat'],
			unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
			...more
		});
		const bound = (bindings: object) => ({
			durableObjects: {
				REALTIME: { className: 'RealtimeHub', scriptName: 'hub', useSQLite: true }
			},
			bindings: { INNGEST: inngest.url, ...bindings }
		});
		const lines: string[] = [];
		const mf = new Miniflare({
			handleRuntimeStdio: (out: NodeJS.ReadableStream, err: NodeJS.ReadableStream) => {
				for (const stream of [out, err]) stream.on('data', (chunk) => lines.push(String(chunk)));
			},
			workers: [
				worker('hub', hub, {
					durableObjects: { REALTIME: { className: 'RealtimeHub', useSQLite: true } },
					bindings: { INNGEST_BASE_URL: inngest.url, INNGEST_SIGNING_KEY: 'signkey-test-00ff' }
				}),
				worker('a', app, bound({})),
				worker('b', app, bound({})),
				worker('spread', app, bound({ SHARDS: '4' })),
				worker('alone', app, { bindings: { INNGEST: inngest.url } })
			]
		} as never);
		await mf.ready;
		const names = ['hub', 'a', 'b', 'alone', 'spread'] as const;
		const urls = await Promise.all(
			names.map(async (name) => [name, (await mf.unsafeGetDirectURL(name)).href] as const)
		);
		return new WorkersWorld(inngest, mf, lines, Object.fromEntries(urls) as never);
	}

	private constructor(
		inngest: ScriptedServer,
		mf: Miniflare,
		lines: readonly string[],
		urls: Record<Isolate | 'hub', string>
	) {
		this.inngest = inngest;
		this.mf = mf;
		this.lines = lines;
		this.#urls = urls;
	}

	async open(
		isolate: Isolate,
		body: unknown,
		headers: Record<string, string> = {},
		signal?: AbortSignal
	): Promise<SseReader> {
		const reader = await openStream(this.#urls[isolate], body, headers, signal);
		this.#readers.push(reader);
		return reader;
	}

	/** Where the object answers as it does to isolates. */
	get hubUrl(): string {
		return this.#urls.hub;
	}

	/** Asks an isolate. */
	async ask<T>(
		isolate: Isolate,
		path: string,
		body?: unknown,
		headers: Record<string, string> = {}
	): Promise<T> {
		const response = await fetch(new URL(path, this.#urls[isolate]), {
			method: 'POST',
			headers,
			...(body !== undefined && { body: JSON.stringify(body) })
		});
		const text = await response.text();
		return (text && JSON.parse(text)) as T;
	}

	/** Steers the object. */
	async object(path: string, object?: string): Promise<unknown> {
		const url = new URL(`/test/${path}`, this.#urls.hub);
		if (object) url.searchParams.set('object', object);
		const text = await (await fetch(url)).text();
		try {
			return JSON.parse(text);
		} catch {
			return text;
		}
	}

	async stats(object?: string): Promise<ObjectStats> {
		return (await this.object('stats', object)) as ObjectStats;
	}

	/** Ends all streams of the test. */
	closeReaders(): void {
		for (const reader of this.#readers.splice(0)) reader.close();
	}

	async close(): Promise<void> {
		this.closeReaders();
		await this.mf.dispose();
		await this.inngest.close();
	}
}
