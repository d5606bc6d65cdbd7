// The Worker that has the object. Tests steer it by requests to its default export.
import { createRealtimeHub } from '../../../src/lib/cloudflare/index.js';

/** Milliseconds that the clock of the object is ahead, as tests set it. */
let aheadMs = 0;

interface State {
	abort(reason?: string): void;
	storage: {
		deleteAll(): Promise<void>;
		getAlarm(): Promise<number | null>;
		sql: { exec(query: string): Iterable<Record<string, unknown>> & { rowsWritten: number } };
	};
}

const Base = createRealtimeHub({
	lingerMs: 300,
	heartbeatMs: 200,
	now: () => Date.now() + aheadMs
});

/** Rows that statements of the object wrote, as they are billed. */
let rowsWritten = 0;
/** Requests to the object. */
let requests = 0;

export class RealtimeHub extends Base {
	readonly #state: State;

	constructor(state: never, env: unknown) {
		super(counting(state), env);
		this.#state = state;
	}

	override async fetch(request: Request): Promise<Response> {
		const { pathname, searchParams } = new URL(request.url);
		const { storage } = this.#state;
		switch (pathname) {
			case '/test/stats':
				return Response.json({
					...this.stats(),
					rowsWritten,
					requests,
					alarm: await storage.getAlarm()
				});
			case '/test/evict':
				this.#state.abort('evicted');
				return new Response();
			case '/test/flush':
				await storage.deleteAll();
				this.#state.abort('flushed');
				return new Response();
			case '/test/alarm':
				await this.alarm();
				return new Response();
			case '/test/clock':
				aheadMs = Number(searchParams.get('ahead'));
				return new Response();
			case '/test/rows': {
				const table = searchParams.get('table')!;
				return Response.json([...storage.sql.exec(`SELECT * FROM ${table}`)]);
			}
		}
		requests++;
		return super.fetch(request);
	}
}

/** The state, with a storage that counts what is written. */
function counting(state: never): never {
	const { storage } = state as State;
	const sql = {
		exec(...args: [string]) {
			const cursor = storage.sql.exec(...args);
			const rows = [...cursor];
			rowsWritten += cursor.rowsWritten;
			return rows;
		}
	};
	return {
		storage: {
			sql,
			getAlarm: () => storage.getAlarm(),
			setAlarm: (atMs: number) =>
				(storage as unknown as { setAlarm(atMs: number): Promise<void> }).setAlarm(atMs)
		}
	} as never;
}

interface Env {
	REALTIME: {
		idFromName(name: string): unknown;
		get(id: unknown): { fetch(request: Request | string): Promise<Response> };
	};
}

export default {
	async fetch(request: Request, { REALTIME }: Env): Promise<Response> {
		const name = new URL(request.url).searchParams.get('object') ?? 'sveltekit-inngest:0';
		try {
			return await REALTIME.get(REALTIME.idFromName(name)).fetch(request);
		} catch (error) {
			// An object that was told to go does not answer.
			return new Response(String(error));
		}
	}
};
