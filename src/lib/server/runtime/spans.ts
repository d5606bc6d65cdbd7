/** The parts of `@opentelemetry/api` that this package uses. */
interface Tracing {
	trace: {
		getActiveSpan(): unknown;
		getTracer(name: string): {
			startActiveSpan<T>(
				name: string,
				options: { attributes: Attributes },
				work: (span: Span) => T
			): T;
		};
	};
	SpanStatusCode: { ERROR: number };
}

type Attributes = Record<string, string | number>;

/** A span of a trace. */
export interface Span {
	setAttribute(name: string, value: string | number): unknown;
	setStatus(status: { code: number; message?: string }): unknown;
	end(): void;
}

const NAME = 'sveltekit-inngest';
/** Not a literal, so that no bundler looks for a package that an app may not have. */
const API: string = '@opentelemetry/api';

let loading: Promise<void> | undefined;
let tracing: Tracing | undefined;

/** Loads `@opentelemetry/api` once, if the app has it. */
export function loadTracing(): Promise<void> {
	return (loading ??= import(/* @vite-ignore */ API).then(
		(api: Tracing) => void (tracing = api),
		// Without it nothing is traced.
		() => {}
	));
}

/** Whether this code runs within a trace. */
export function isTraced(): boolean {
	return tracing?.trace.getActiveSpan() !== undefined;
}

/**
 * Runs work in a new span, a child of the current one. Without `@opentelemetry/api` it just runs the work.
 */
export async function inSpan<T>(
	name: string,
	attributes: Attributes,
	work: (span: Span | undefined) => Promise<T>
): Promise<T> {
	if (!tracing) return work(undefined);
	const { trace, SpanStatusCode } = tracing;
	return trace.getTracer(NAME).startActiveSpan(name, { attributes }, async (span) => {
		try {
			return await work(span);
		} catch (error) {
			const message = error instanceof Error ? error.message : String(error);
			span.setStatus({ code: SpanStatusCode.ERROR, message });
			throw error;
		} finally {
			span.end();
		}
	});
}
