import { z } from 'zod';

const MAX_STEP_BYTES = 4 * 1024 * 1024;

const opcode = z.looseObject({
	op: z.string(),
	id: z.string().default(''),
	name: z.string().nullish(),
	displayName: z.string().nullish(),
	opts: z.record(z.string(), z.unknown()).nullish(),
	data: z.unknown(),
	error: z.looseObject({ name: z.string().nullish(), message: z.string().nullish() }).nullish()
});

/** Something that the SDK has done or requests. */
export type Opcode = z.output<typeof opcode>;

/**
 * The opcodes in a 206 response: a list, or a single one.
 *
 * @throws when no opcode can be read.
 */
export function readOpcodes(value: unknown, noRetry: boolean): Opcode[] {
	const opcodes = z.array(opcode).parse(Array.isArray(value) ? value : [value]);
	for (const op of opcodes) {
		if (op.op === 'StepError') {
			if (!op.error) throw new Error('OpcodeStepError received without Error field set');
			if (noRetry) op.error.noRetry = true;
		}
		if (stepState(op).length > MAX_STEP_BYTES) {
			const text = `error validating generator opcode ${op.id}: step output size is greater than the limit`;
			throw new Error(text);
		}
	}
	return opcodes.length > 0 ? opcodes : [{ op: 'None', id: '', data: undefined }];
}

/** The state of a step that is kept: JSON that says whether it returned data or failed. */
export function stepState(op: Opcode): string {
	if (op.op === 'StepError' || op.op === 'StepFailed') {
		return JSON.stringify({ error: op.error ?? null });
	}
	if (op.op === 'Step') return JSON.stringify(op.data ?? null);
	return JSON.stringify({ data: op.data ?? null });
}

/** Name of a step in the app's code. */
export function stepName(op: Opcode): string {
	return op.displayName || op.name || op.id;
}

/** Whether the run continues as soon as this step is done, without waiting for parallel steps. */
export function isRace(op: Opcode): boolean {
	return op.opts?.parallelMode === 'race';
}

/** Opcodes that request something from the engine before the run can continue. */
const PLANS = new Set(['InvokeFunction', 'Sleep', 'StepPlanned', 'WaitForEvent']);

export function isPlan(op: Opcode): boolean {
	return PLANS.has(op.op);
}

/** Opcodes that come along with others and that no run waits for. */
export function isLazy(op: Opcode): boolean {
	return op.op === 'DeferAdd' || op.op === 'DeferAbort';
}

/** Names of features that this engine does not support, by opcode. */
export const UNSUPPORTED: Record<string, string> = {
	WaitForSignal: 'step.waitForSignal()',
	AIGateway: 'step.ai.infer()',
	Gateway: 'step.fetch()',
	SyncRunComplete: 'a durable endpoint'
};
