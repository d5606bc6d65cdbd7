import { isWorkerd } from './runtime.js';

/** What to do when the process is asked to stop. */
interface ShutdownHandler {
	/** On the signal: SvelteKit's Node adapter waits for open streams before it says that it has closed. */
	endStreams(): void;
	/** When the server has closed. */
	close(): void;
}

/** Registers a handler. @returns a function that removes it. */
type Register = (handler: ShutdownHandler) => () => void;

/**
 * One registration serves all copies of this package in a process, of any version: two copies that listen to
 * a signal would each leave the exit to the other. The first copy puts it here.
 */
const REGISTER = Symbol.for('sveltekit-inngest.shutdown');

const globals = globalThis as { [REGISTER]?: Register };

/** Registers for the end of the process, on Node. @returns a function that removes it. */
export function onShutdown(handler: ShutdownHandler): () => void {
	if (isWorkerd || typeof process !== 'object' || typeof process.on !== 'function') {
		return () => {};
	}
	return (globals[REGISTER] ??= createRegister())(handler);
}

function createRegister(): Register {
	const handlers = new Set<ShutdownHandler>();

	const onSignal = (signal: NodeJS.Signals): void => {
		for (const handler of [...handlers]) attempt(() => handler.endStreams());
		// Listening to a signal turns off its default, which is to exit. If nobody else listens, nobody else will
		// exit either.
		if (process.listenerCount(signal) > 1) return;
		toggleListeners('off');
		process.kill(process.pid, signal);
	};

	const onServerClosed = (): void => {
		for (const handler of [...handlers]) attempt(() => handler.close());
	};

	function toggleListeners(toggle: 'on' | 'off'): void {
		process[toggle]('SIGTERM', onSignal);
		process[toggle]('SIGINT', onSignal);
		process[toggle]('sveltekit:shutdown', onServerClosed);
	}

	return (handler) => {
		if (handlers.size === 0) toggleListeners('on');
		handlers.add(handler);
		return () => {
			if (handlers.delete(handler) && handlers.size === 0) toggleListeners('off');
		};
	};
}

/** An error in one handler must not keep the others from running. */
function attempt(work: () => void): void {
	try {
		work();
	} catch (error) {
		console.error('[sveltekit-inngest] A realtime endpoint could not be ended.', error);
	}
}
