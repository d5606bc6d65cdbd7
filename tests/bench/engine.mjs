// The engine as a process of its own, publishing at the rate it is told.
import { startInngestDev } from '../../dist/dev/index.js';

const engine = await startInngestDev({ port: Number(process.env.ENGINE_PORT ?? 0) });
let timer;
let n = 0;

process.on('message', ({ command, channels = [], perSecond = 0 }) => {
	if (command === 'publish') {
		const startedAt = performance.now();
		let sent = 0;
		n = 0;
		timer = setInterval(() => {
			const due = Math.floor(((performance.now() - startedAt) * perSecond) / 1000);
			for (; sent < due; sent++) {
				const channel = channels[sent % channels.length];
				const t = performance.timeOrigin + performance.now();
				engine.publish({ channel, topic: 'tick', data: { n: n++, t } });
			}
		}, 2);
	}
	if (command === 'stop') clearInterval(timer);
	if (command === 'drop') engine.dropSockets();
	process.send({ published: n, sockets: engine.sockets, subscriptions: engine.subscriptions });
});
process.send({ url: engine.url });
