// Loaded into a measured server: answers what it costs, over the channel to its parent.
process.on('message', (question) => {
	if (question === 'gc') {
		globalThis.gc();
		globalThis.gc();
	}
	const { heapUsed, external, rss } = process.memoryUsage();
	const { user, system } = process.cpuUsage();
	process.send({
		cpuUs: user + system,
		memory: heapUsed + external,
		rss,
		stats: globalThis.benchStats?.()
	});
});
