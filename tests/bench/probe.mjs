// Loaded into a measured server: answers what it holds, over the channel to its parent.
process.on('message', () => {
	globalThis.gc();
	globalThis.gc();
	const { heapUsed, external } = process.memoryUsage();
	process.send({ memory: heapUsed + external });
});
