// Measures the packaged library against two floors and a naive bridge, each server a process of its own.
//   npm run bench                 everything
//   npm run bench -- 500x100      one fan-out: streams x messages per second
//   npm run bench -- backends     one fan-out with each of the backends
//   npm run bench -- presence     1,000 members, 50 changes/s, beside as many messages
//   npm run bench -- cursors      a page with twenty moving cursors, in Chromium
//   npm run bench -- channels     1,000 streams, each on a channel of its own
//   npm run bench -- sync         synced tables in Chromium
//   npm run bench -- polling      pages that ask once a second
//   npm run bench -- events       a page sends, and shows what its handler emits; needs Chromium
//   npm run bench -- metrics      what it costs that metrics are read once a second; BENCH_OTHER names another build's index.js
//   BENCH_ROUNDS=5 npm run bench -- 500x100    the servers in turn, five times, and medians
//   BENCH_PROFILE=/tmp npm run bench -- 500x100   writes a profile of each server
//   BENCH_SERVERS=floor,hub BENCH_SECONDS=5 npm run bench
//   BENCH_BUILT=1 npm run bench   with what the last run built
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadavg } from 'node:os';
import { chromium } from 'playwright';
import { measureCursors } from './cursors.mjs';
import { buildApp, here, listening, loadBackends, Process, wait } from './processes.mjs';

const LINGER_MS = 1_000;
const SECONDS = Number(process.env.BENCH_SECONDS ?? 8);
/** Requests by which the cost of one is found. */
const SCRAPES = 2_000;
/** With more than one, the servers of a fan-out are measured in turn, and medians are printed. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 1);
/** Folder for profiles of the measured servers; `scripts/flame.mjs` draws them. */
const PROFILES = process.env.BENCH_PROFILE;
const only = process.argv.slice(2);
const servers = process.env.BENCH_SERVERS?.split(',');

const CANDIDATES = {
	bare: { script: 'bare.mjs', path: '/' },
	floor: { script: 'app/build/index.js', path: '/floor' },
	hub: { script: 'app/build/index.js', path: '/realtime' },
	naive: { script: 'app/build/index.js', path: '/naive' },
	live: { script: 'app/build/index.js', method: 'GET', wire: 'query' },
	scraped: { script: 'app/build/index.js', path: '/realtime', isScraped: true },
	other: { script: process.env.BENCH_OTHER, path: '/realtime' },
	memory: { script: 'app/build/index.js', path: '/realtime' },
	redis: { script: 'app/build/index.js', path: '/realtime' },
	postgres: { script: 'app/build/index.js', path: '/realtime' },
	presence: { script: 'app/build/index.js', path: '/presence', isPresence: true },
	poll: { script: 'app/build/index.js', path: '/poll' }
};

const FAN_OUTS = [
	{ streams: 100, perSecond: 100, candidates: ['bare', 'floor', 'hub', 'naive'] },
	{ streams: 500, perSecond: 100, candidates: ['bare', 'floor', 'hub', 'naive', 'live'] },
	{ streams: 2000, perSecond: 50, candidates: ['bare', 'floor', 'hub'] },
	{ streams: 2000, perSecond: 20, candidates: ['bare', 'floor', 'hub'] },
	{ streams: 2000, perSecond: 100, candidates: ['bare', 'floor', 'hub'] },
	{ streams: 10_000, perSecond: 10, candidates: ['floor', 'hub'] }
];

const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
/** Milliseconds that a page may take at the median to show what it caused. */
const ROUND_TRIP_MS = 15;

let nextPort = 30_000 + Math.floor(Math.random() * 2_000);

/** An engine, a candidate's server on it, and the load generator. */
async function start(name) {
	const engine = new Process('engine.mjs');
	const { url } = await engine.hear();
	const port = nextPort++;
	const server = new Process(
		CANDIDATES[name].script,
		{
			PORT: String(port),
			HOST: '127.0.0.1',
			ORIGIN: `http://localhost:${port}`,
			ENGINE_URL: url,
			LINGER_MS: String(LINGER_MS),
			NODE_ENV: 'production',
			...CANDIDATES[name].env
		},
		['--expose-gc', '--import', here('probe.mjs')]
	);
	const load = new Process('load.mjs');
	await load.hear();
	await listening(port);
	return { engine, server, load, port };
}

/** One process, so that what the backend costs is all that differs. */
async function measureBackends() {
	const { hasRedis, RedisServer, hasPostgres, PostgresServer } = await loadBackends();
	const started = [];
	const names = ['memory'];
	if (hasRedis) {
		started.push(await RedisServer.start());
		CANDIDATES.redis.env = { REDIS_URL: started.at(-1).url };
		names.push('redis');
	}
	if (hasPostgres) {
		started.push(await PostgresServer.start());
		CANDIDATES.postgres.env = { DATABASE_URL: started.at(-1).url };
		names.push('postgres');
	}
	try {
		const fanOut = { streams: 500, perSecond: 100 };
		const rows = [];
		for (const name of names) rows.push(await measure(name, fanOut));
		print(
			'Backends: 500 streams on one channel, 100 messages/s; ratios are to memory',
			rows,
			'memory'
		);
	} finally {
		for (const server of started) await server.close();
	}
	console.log(
		`\nLoad average: ${loadavg()
			.map((load) => load.toFixed(1))
			.join(', ')}`
	);
}

/** @returns CPU µs of the server per answer to pages that ask once a second. */
async function measurePolling(pages) {
	const { engine, server, load, port } = await start('poll');
	await load.ask({ command: 'poll', port, target: CANDIDATES.poll, count: pages });
	await wait(2_000);
	const startCpu = server.cpuUs;
	await load.ask({ command: 'measure' });
	await wait(SECONDS * 1_000);
	const cpuUs = server.cpuUs - startCpu;
	const { received } = await load.ask({ command: 'result' });
	for (const process of [load, server, engine]) await process.end();
	return cpuUs / received;
}

/** From `send()` to `.current` of the same page, in a real browser. */
async function measureEvents() {
	if (!existsSync(CHROMIUM)) return console.log(`\nNo events: there is no ${CHROMIUM}.`);
	const { engine, server, load, port } = await start('hub');
	const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
	console.log('\n## An event and its echo: page → run → emit → .current of the same page\n');
	console.log('| until | pause between two | events | p50 ms | p99 ms |');
	console.log('| --- | --- | --- | --- | --- |');
	try {
		const page = await browser.newPage();
		await page.goto(`http://localhost:${port}/round-trip`);
		await page.getByText('connected').waitFor();
		const measure = (...options) => page.evaluate((given) => globalThis.measure(...given), options);
		await measure(50, 0, 'held');
		// Effects run once per frame of the screen: back to back, they would measure the frames.
		for (const [until, what, pauseMs, count] of [
			['held', '`.current` has it', 0, 500],
			['held', '`.current` has it', 50, 100],
			['shown', 'an effect has read it', 50, 100]
		]) {
			const times = await measure(count, pauseMs, until);
			times.sort((a, b) => a - b);
			const at = (share) => times[Math.floor(share * (count - 1))];
			console.log(
				`| ${what} | ${pauseMs} ms | ${count} | ${at(0.5).toFixed(1)} | ${at(0.99).toFixed(1)} |`
			);
			if (at(0.5) > ROUND_TRIP_MS) process.exitCode = 1;
		}
	} finally {
		await browser.close();
		for (const process of [load, server, engine]) await process.end();
	}
}

/** Reads the metrics of a server, as Prometheus does. */
async function scrape(port) {
	const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
	await answer.text();
}

/** What metrics cost: scraped once a second or not at all, in turn, and another build besides. */
async function measureMetrics() {
	const candidates = ['hub', 'scraped', ...(process.env.BENCH_OTHER ? ['other'] : [])];
	await measureRounds(
		'Metrics: 500 streams on one channel, 100 messages/s',
		{ streams: 500, perSecond: 100 },
		candidates
	);
	const { engine, server, load, port } = await start('hub');
	await load.ask({
		command: 'open',
		port,
		target: CANDIDATES.hub,
		channels: ['bench'],
		count: 500
	});
	const startCpu = server.cpuUs;
	for (let n = 0; n < SCRAPES; n++) await scrape(port);
	const perScrape = (server.cpuUs - startCpu) / SCRAPES;
	for (const process of [load, server, engine]) await process.end();
	console.log(`\n${perScrape.toFixed(0)} CPU µs per scrape, its request included`);
}

/** Measures candidates in turn, so that what else the machine does meets all of them alike. */
async function measureRounds(title, fanOut, candidates) {
	const runs = new Map(candidates.map((name) => [name, []]));
	for (let round = 0; round < ROUNDS; round++) {
		for (const name of candidates) {
			const { cpuPerDelivery, lost } = await measure(name, fanOut);
			runs.get(name).push(cpuPerDelivery);
			const load = loadavg()[0].toFixed(1);
			console.error(`${name} ${cpuPerDelivery.toFixed(2)} (lost ${lost}, load average ${load})`);
		}
	}
	console.log(`\n## ${title}, ${ROUNDS} rounds\n`);
	console.log(`| server | median CPU µs per delivery | least | most | to ${candidates[0]} |`);
	console.log('| --- | --- | --- | --- | --- |');
	// Two runs that follow each other are compared: the load of a minute ago says nothing.
	const first = runs.get(candidates[0]);
	for (const [name, values] of runs) {
		const ratios = values.map((value, round) => value / first[round]);
		const cells = [median(values), Math.min(...values), Math.max(...values)];
		console.log(
			`| ${name} | ${cells.map((cell) => cell.toFixed(2)).join(' | ')} | ${median(ratios).toFixed(3)}x |`
		);
	}
}

function median(values) {
	const sorted = [...values].sort((a, b) => a - b);
	const middle = (sorted.length - 1) / 2;
	return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

/** One candidate under one load. */
async function measure(name, { streams, perSecond, channels = ['bench'] }) {
	const target = CANDIDATES[name];
	const { engine, server, load, port } = await start(name);
	// One stream first: what the first request loads is not a stream's memory.
	await load.ask({ command: 'open', port, target, channels, count: 1 });
	const before = await server.ask('memory');
	await load.ask({ command: 'open', port, target, channels, count: streams - 1 });
	await wait(500);
	const idle = await server.ask('memory');
	const { isPresence } = target;
	if (isPresence) await load.ask({ command: 'change', port, target, perSecond });
	else await engine.ask({ command: 'publish', channels, perSecond });
	// A second to warm up.
	await wait(1_000);
	if (PROFILES) await server.ask('startProfile');
	const startCpu = server.cpuUs;
	await load.ask({ command: 'measure' });
	const scraping = target.isScraped && setInterval(() => void scrape(port), 1_000);
	const count = () =>
		isPresence ? load.ask({ command: 'changes' }) : engine.ask({ command: 'count' });
	const startCount = (await count()).published;
	await wait(SECONDS * 1_000);
	const stopped = isPresence ? await load.ask({ command: 'change' }) : undefined;
	const { sockets, ...counted } = await engine.ask({ command: 'stop' });
	const { published } = stopped ?? counted;
	// What is under way arrives; what a server that is overrun has not sent by then counts as lost.
	await wait(1_500);
	const result = await load.ask({ command: 'result' });
	const cpuUs = server.cpuUs - startCpu;
	clearInterval(scraping);
	if (PROFILES) {
		const profile = await server.ask('stopProfile');
		writeFileSync(join(PROFILES, `${name}.cpuprofile`), JSON.stringify(profile));
	}
	await load.ask({ command: 'close' });
	if (ROUNDS === 1) await wait(LINGER_MS + 5_000);
	const after = await engine.ask({ command: 'count' });
	for (const process of [load, server, engine]) await process.end();
	const listeners = channels.length === 1 ? streams : streams / channels.length;
	const expected = (published - startCount) * listeners;
	return {
		name,
		sockets,
		socketsAfter: after.sockets,
		cpuPerDelivery: cpuUs / Math.max(1, result.received),
		bytesPerStream: (idle.memory - before.memory) / Math.max(1, streams - 1),
		p50: result.p50,
		p99: result.p99,
		// Messages in flight as the count began are not losses.
		lost: Math.max(0, expected - result.received),
		cut: result.closed
	};
}

/** @param base The server that the others are compared with. */
function print(title, rows, base = 'floor') {
	const floor = rows.find(({ name }) => name === base);
	const ratio = (row, read) =>
		floor && row !== floor ? ` (${(read(row) / read(floor)).toFixed(2)}x)` : '';
	console.log(`\n## ${title}\n`);
	console.log(
		'| server | upstream sockets | after | CPU µs per delivery | KB per idle stream | p50 ms | p99 ms | lost | cut |'
	);
	console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
	for (const row of rows) {
		const cells = [
			row.name,
			row.sockets,
			row.socketsAfter,
			row.cpuPerDelivery.toFixed(1) + ratio(row, (r) => r.cpuPerDelivery),
			(row.bytesPerStream / 1024).toFixed(1),
			row.p50.toFixed(1),
			row.p99.toFixed(1) + ratio(row, (r) => r.p99),
			row.lost,
			row.cut
		];
		console.log(`| ${cells.join(' | ')} |`);
	}
}

if (only.length === 1 && only[0] === 'cursors') {
	await measureCursors();
	process.exit();
}
if (only.length === 0 || only.includes('sync')) await import('./sync.mjs');
if (only.join() === 'sync') process.exit();

if (!process.env.BENCH_BUILT) buildApp();
// SvelteKit names a file of queries by a hash.
const chunks = readdirSync(here('app/.svelte-kit/output/server/chunks'));
const [, hash] = chunks.map((file) => /^remote-(\w+)\.js$/.exec(file)).find(Boolean);
CANDIDATES.live.path = `/_app/remote/${hash}/ticks`;

console.log(
	`Node ${process.version}, ${SECONDS} s per run; ratios are to the adapter floor of the same run.`
);
for (const fanOut of FAN_OUTS) {
	const key = `${fanOut.streams}x${fanOut.perSecond}`;
	if (only.length > 0 && !only.includes(key)) continue;
	const rows = [];
	const candidates = fanOut.candidates.filter((name) => servers?.includes(name) ?? true);
	if (ROUNDS > 1) {
		const title = `${fanOut.streams} streams on one channel, ${fanOut.perSecond} messages/s`;
		await measureRounds(title, fanOut, candidates);
		continue;
	}
	for (const name of candidates) rows.push(await measure(name, fanOut));
	print(`${fanOut.streams} streams on one channel, ${fanOut.perSecond} messages/s`, rows);
}
if (only.length === 0 || only.includes('channels')) {
	const channels = Array.from({ length: 1_000 }, (_, index) => `user:${index}`);
	const rows = [await measure('hub', { streams: 1_000, perSecond: 1_000, channels })];
	print('1,000 streams on 1,000 channels, 1,000 messages/s in all', rows);
}
if (only.length === 0 || only.includes('presence')) {
	const fanOut = { streams: 1_000, perSecond: 50 };
	const rows = [];
	for (const name of ['hub', 'presence']) rows.push(await measure(name, fanOut));
	print('1,000 readers: 50 messages/s, and 50 changes of members/s', rows, 'hub');
}
if (only.length === 0 || only.includes('backends')) await measureBackends();
if (only.length === 0 || only.includes('metrics')) await measureMetrics();
if (only.length === 0 || only.includes('events')) await measureEvents();
if (only.length === 0 || only.includes('polling')) {
	const perAnswer = await measurePolling(500);
	console.log('\n## 500 pages that ask once a second\n');
	console.log(`${perAnswer.toFixed(1)} CPU µs per answer`);
}
