// Loaded into a measured server: answers what it holds, or a profile of it, over the channel to its parent.
import { Session } from 'node:inspector/promises';

const session = new Session();

const COMMANDS = {
	memory() {
		globalThis.gc();
		globalThis.gc();
		const { heapUsed, external } = process.memoryUsage();
		return { memory: heapUsed + external };
	},
	async startProfile() {
		session.connect();
		await session.post('Profiler.enable');
		await session.post('Profiler.setSamplingInterval', { interval: 500 });
		await session.post('Profiler.start');
		return {};
	},
	async stopProfile() {
		return (await session.post('Profiler.stop')).profile;
	}
};

process.on('message', async (command) => process.send(await COMMANDS[command]()));
