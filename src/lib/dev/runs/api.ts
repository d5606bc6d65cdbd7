import { readBody, reply, failure, HttpError } from '../http.js';
import type { Exchange, Routes } from '../http.js';
import { DEV_ENV_ID, parseUlid } from '../ids.js';
import type { Dispatcher } from './dispatcher.js';
import { isLazy, readOpcodes, stepState } from './opcode.js';
import type { Run } from './run.js';

const MAX_CHECKPOINT_BYTES = 32 * 1024 * 1024;

/** Routes that show and cancel runs, and that accept the steps which SDKs report during a run. */
export function runRoutes(dispatcher: Dispatcher): Routes {
	return {
		'GET /v1/runs/:': ({ response, param }) => {
			answer(response, describe(find(dispatcher, param)));
		},
		'DELETE /v1/runs/:': ({ response, param }) => {
			dispatcher.cancel(find(dispatcher, param));
			response.writeHead(200, { 'content-type': 'application/json' }).end();
		},
		'GET /v1/events/:/runs': ({ response, param }) => {
			const id = parseUlid(param);
			if (!id) return failure(response, 400, `Invalid event ID: ${param}`);
			const runs = dispatcher.runs.filter((run) => run.event.internalId === id);
			answer(response, runs.map(describe));
		},
		'POST /v1/checkpoint/:/async': (exchange) => checkpoint(dispatcher, exchange)
	};
}

/** Keeps steps that the SDK has run. The SDK continues without waiting to be called again. */
async function checkpoint(
	dispatcher: Dispatcher,
	{ request, response, param }: Exchange
): Promise<void> {
	const body = await readBody(request, MAX_CHECKPOINT_BYTES);
	const run = find(dispatcher, param);
	if (run.outcome) throw new HttpError(400, 'run not found');
	let steps;
	try {
		const { steps: list } = JSON.parse(body.toString('utf8')) as { steps?: unknown };
		steps = Array.isArray(list) && list.length > 0 ? readOpcodes(list, false) : [];
	} catch (error) {
		throw new HttpError(400, `invalid request body: ${(error as Error).message}`);
	}
	for (const op of steps) {
		if (op.op === 'Step' || op.op === 'StepRun') run.save(op.id, stepState(op));
		else if (op.op !== 'StepPlanned' && !isLazy(op)) {
			throw new HttpError(400, `cannot checkpoint opcode: ${op.op}`);
		}
	}
	response.writeHead(200, { 'content-type': 'application/json' }).end();
}

function find(dispatcher: Dispatcher, param: string): Run {
	const id = parseUlid(param);
	if (!id) throw new HttpError(400, `Invalid run ID: ${param}`);
	const run = dispatcher.find(id);
	if (!run) throw new HttpError(404, `Unable to load function run: ${param}`);
	return run;
}

function describe(run: Run): unknown {
	const { outcome } = run;
	return {
		run_id: run.id,
		run_started_at: new Date(run.startedAt ?? run.createdAt).toISOString(),
		function_id: run.fn.uuid,
		function_version: 1,
		environment_id: DEV_ENV_ID,
		event_id: run.event.internalId,
		status: run.status,
		ended_at: run.endedAt === undefined ? null : new Date(run.endedAt).toISOString(),
		...(outcome && 'output' in outcome ? { output: outcome.output } : {})
	};
}

function answer(response: Exchange['response'], data: unknown): void {
	reply(response, 200, {
		data,
		metadata: { fetched_at: new Date().toISOString(), cached_until: null }
	});
}
