// Loaded into the server of a soak: answers what it holds, over the channel to its parent.
const timers = new Set();

for (const name of ['setTimeout', 'setInterval']) {
	const original = globalThis[name];
	const counted = (...args) => {
		const timer = original(...args);
		timers.add(timer);
		return timer;
	};
	// `util.promisify(setTimeout)` reads what hangs on the function.
	globalThis[name] = Object.defineProperties(counted, Object.getOwnPropertyDescriptors(original));
}

/** Timers that have not fired for the last time and were not cleared. */
function openTimers() {
	for (const timer of timers) if (timer._destroyed) timers.delete(timer);
	return timers.size;
}

process.on('message', () => {
	globalThis.gc();
	globalThis.gc();
	const { heapUsed, external, rss } = process.memoryUsage();
	const handles = process.getActiveResourcesInfo().filter((name) => name !== 'Timeout').length;
	process.send({ heap: heapUsed + external, rss, timers: openTimers(), handles });
});
