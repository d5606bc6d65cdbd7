import { isWorkerd } from './runtime.js';

/** What is to be done when the process is asked to stop. */
interface ShutdownHandler {
	/** On the signal: SvelteKit's Node adapter waits for open streams before it says it has closed. */
	endStreams(): void;
	/** When the server has closed. */
	close(): void;
}

const shutdownHandlers = new Set<ShutdownHandler>();

const onSignal = (signal: NodeJS.Signals): void => {
	for (const handler of shutdownHandlers) handler.endStreams();
	// A listener takes away a signal's default, which is to exit. Where nobody else listens, nobody
	// else will exit either.
	if (process.listenerCount(signal) > 1) return;
	toggleListeners('off');
	process.kill(process.pid, signal);
};

const onServerClosed = (): void => {
	for (const handler of [...shutdownHandlers]) handler.close();
};

function toggleListeners(toggle: 'on' | 'off'): void {
	process[toggle]('SIGTERM', onSignal);
	process[toggle]('SIGINT', onSignal);
	process[toggle]('sveltekit:shutdown', onServerClosed);
}

/** Registers for the end of the process, on Node. @returns a function that takes it back. */
export function onShutdown(handler: ShutdownHandler): () => void {
	if (isWorkerd || typeof process !== 'object' || typeof process.on !== 'function') {
		return () => {};
	}
	if (shutdownHandlers.size === 0) toggleListeners('on');
	shutdownHandlers.add(handler);
	return () => {
		if (shutdownHandlers.delete(handler) && shutdownHandlers.size === 0) toggleListeners('off');
	};
}
