import { test } from 'vitest';
import { startInngestDev } from '/tmp/wt/inngest/src/lib/dev/index.js';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import { Recorder, ScriptedServer, sourceAt, until } from '/tmp/wt/inngest/tests/support/upstream.js';
const numbers = (n: number) => Array.from({ length: n }, (_, i) => i);
for (const rtt of [0, 100]) for (const n of [800, 8000]) {
	test(`one feed of ${n} topics, ${rtt} ms`, { timeout: 120_000 }, async () => {
		const server = await ScriptedServer.start();
		server.onToken = async () => { if (rtt) await new Promise((r) => setTimeout(r, rtt)); return 201; };
		const upstream = sourceAt(server.url);
		const first = new Recorder('first'); upstream.listen(first); await first.whenLive();
		const t0 = performance.now(); const cpu0 = process.cpuUsage();
		const huge = new Recorder('huge', numbers(n).map((i) => `topic-number-${i}`));
		let hugeAt = 0, otherAt = 0;
		huge.live = () => { hugeAt = performance.now() - t0; huge.isLive = true };
		const other = new Recorder('other'); other.live = () => { otherAt = performance.now() - t0; other.isLive = true };
		upstream.listen(huge);
		await new Promise((r) => setTimeout(r, 5));
		upstream.listen(other);
		await new Promise<void>((r) => { const t = setInterval(() => { if (other.isLive && (huge.isLive || huge.events.length)) { clearInterval(t); r(); } }, 5); });
		const cpu = process.cpuUsage(cpu0);
		console.log(`feed of ${n}, rtt ${rtt}: huge live ${hugeAt.toFixed(0)} ms, other live ${otherAt.toFixed(0)} ms, cpu ${((cpu.user + cpu.system) / 1000).toFixed(0)} ms, tokens ${server.tokens.length}`, huge.errors.map(String));
		upstream.close(); await server.close();
	});
}
for (const n of [100, 1000]) {
	test(`${n} feeds of one channel, one topic each`, { timeout: 120_000 }, async () => {
		const server = await ScriptedServer.start();
		const upstream = sourceAt(server.url);
		const all = numbers(n).map((i) => new Recorder('huge', [`topic-number-${i}`]));
		for (const l of all) upstream.listen(l);
		await until(() => all.every((l) => l.isLive), 'live');
		const cpu0 = process.cpuUsage(); const t0 = performance.now();
		for (const i of numbers(100)) { const l = new Recorder('huge', [`more-${i}`]); upstream.listen(l); await l.whenLive(); }
		const cpu = process.cpuUsage(cpu0);
		const t1 = performance.now();
		for (let i = 0; i < 20_000; i++) server.publish('huge', `topic-number-${i % n}`, i);
		await until(() => all.reduce((s, l) => s + l.messages.length, 0) === 20_000, 'messages');
		console.log(`${n} feeds of one channel: 100 more topics ${(t1 - t0).toFixed(0)} ms, cpu ${((cpu.user + cpu.system) / 1000).toFixed(0)} ms; 20,000 messages ${(performance.now() - t1).toFixed(0)} ms`);
		upstream.close(); await server.close();
	});
}
