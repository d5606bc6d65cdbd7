// Streams come and go for a long time, while things fail; afterwards everything is as it was before.
//   npm run soak                                 30 minutes, 2,000 streams, all backends in turn
//   npm run soak -- --minutes 6 --streams 500    shorter, and fewer
//   npm run soak -- --backends redis,postgres    some of the backends
//   npm run soak -- --built                      with what the last run built
// Writes the samples to tests/soak/samples.json and the curves to docs/soak.svg. Exits with 1 when something
// has not returned. Needs Linux.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
	buildApp,
	here as benchFile,
	listening,
	loadBackends,
	Process,
	wait
} from '../bench/processes.mjs';
import { drawChart } from './chart.mjs';

const { values: options } = parseArgs({
	options: {
		minutes: { type: 'string', default: '30' },
		streams: { type: 'string', default: '2000' },
		backends: { type: 'string', default: 'memory,redis,postgres' },
		built: { type: 'boolean', default: false }
	}
});
const STREAMS = Number(options.streams);
const MESSAGES_PER_S = 100;
/** What comes before the comparison: caches, pools and logs are full afterwards. */
const WARM_UP_S = 30;
const SAMPLE_S = 2;
const FAULT_S = 4;
/** How long, at most, what has been left may take to be let go: `lingerMs`, farewells, pools, timeouts of Node. */
const SETTLE_S = 120;
/** Samples in a row that are alike when everything has been let go. */
const STEADY_SAMPLES = 6;
const MB = 1024 * 1024;

/** How much more than before the turn there may be after it. */
const TOLERANCES = {
	heap: (before) => Math.max(3 * MB, before * 0.1),
	rss: (before) => before * 0.25,
	sockets: () => 2,
	handles: () => 2,
	timers: () => 2,
	feeds: () => 0
};

let nextPort = 32_000 + Math.floor(Math.random() * 700);
const channels = ['bench', ...Array.from({ length: 20 }, (_, index) => `user:${index}`)];
const file = (path) => benchFile(`../soak/${path}`);

class Turn {
	name;
	samples = [];
	faults = {};
	isOver = false;
	#startedMs = performance.now();
	#database;
	#env;
	#engine;
	#engineEnv;
	#server;
	#port;
	#readers;

	constructor(name, { server, env = {} } = {}) {
		this.name = name;
		this.#database = server;
		this.#env = env;
	}

	async start() {
		this.#engineEnv = { ENGINE_PORT: String(nextPort++) };
		const url = await this.#startEngine();
		this.#port = nextPort++;
		this.#server = new Process(
			'app/build/index.js',
			{
				PORT: String(this.#port),
				HOST: '127.0.0.1',
				ORIGIN: `http://localhost:${this.#port}`,
				ENGINE_URL: url,
				LINGER_MS: '1000',
				REPLAY_EVENTS: '50',
				NODE_ENV: 'production',
				QUIET: '1',
				...this.#env
			},
			['--expose-gc', '--import', file('probe.mjs')]
		);
		void this.#server.exited.then(() => this.isOver || this.#fail('The server ended'));
		this.#readers = new Process(file('readers.mjs'));
		await this.#readers.hear();
		await listening(this.#port);
	}

	#fail(text) {
		console.error(text);
		process.exit(1);
	}

	async #startEngine() {
		this.#engine = new Process('engine.mjs', this.#engineEnv);
		const { url } = await this.#engine.hear();
		await this.#engine.ask({ command: 'publish', channels, perSecond: MESSAGES_PER_S });
		return url;
	}

	#faults = {
		cut: () => this.#readers.ask({ command: 'cut' }),
		stall: () => this.#readers.ask({ command: 'stall' }),
		upstream: () => this.#engine.ask({ command: 'drop' }),
		engine: async () => {
			await this.#engine.end();
			await wait(1_000);
			await this.#startEngine();
		},
		frozen: async () => {
			await this.#database.freeze();
			await wait(3_000);
			await this.#database.thaw();
		},
		stopped: async () => {
			await this.#database.stop();
			await wait(2_000);
			await this.#database.start();
		}
	};

	/** Streams come and go while things fail; at the end all have left. */
	async storm(seconds) {
		await this.#readers.ask({ command: 'come', port: this.#port, count: STREAMS });
		const names = Object.keys(this.#faults).filter(
			(name) => this.#database || (name !== 'frozen' && name !== 'stopped')
		);
		let isStorming = true;
		const sampling = (async () => {
			for (; isStorming; await wait(SAMPLE_S * 1_000)) await this.sample();
		})();
		const endMs = performance.now() + seconds * 1_000;
		for (let round = 0; performance.now() < endMs; round++) {
			await wait(FAULT_S * 1_000);
			const name = names[round % names.length];
			this.faults[name] = (this.faults[name] ?? 0) + 1;
			await this.#faults[name]();
		}
		this.counts = await this.#readers.ask({ command: 'leave' });
		isStorming = false;
		await sampling;
	}

	async sample() {
		const [held, stats, { open }] = await Promise.all([
			this.#server.ask('sample'),
			this.#stats(),
			this.#readers.ask({ command: 'count' })
		]);
		const sample = {
			atS: Math.round((performance.now() - this.#startedMs) / 100) / 10,
			readers: open,
			streams: stats.streams,
			feeds: stats.hub.feeds,
			sockets: this.#server.sockets,
			...held
		};
		this.samples.push(sample);
		return sample;
	}

	/** A server that is overrun answers later. */
	async #stats() {
		// On a connection of its own: one that is kept would count.
		const headers = { connection: 'close' };
		for (;;) {
			try {
				const answer = await fetch(`http://127.0.0.1:${this.#port}/stats`, { headers });
				return await answer.json();
			} catch {
				await wait(500);
			}
		}
	}

	/** Waits until what is held no longer changes. @returns the last sample. */
	async settle() {
		const endMs = performance.now() + SETTLE_S * 1_000;
		for (let same = 0, last; same < STEADY_SAMPLES && performance.now() < endMs;) {
			await wait(SAMPLE_S * 1_000);
			const { streams, feeds, sockets, handles, timers } = await this.sample();
			const held = [streams, feeds, sockets, handles, timers].join();
			same = streams === 0 && held === last ? same + 1 : 0;
			last = held;
		}
		return this.samples.at(-1);
	}

	async end() {
		this.isOver = true;
		for (const process of [this.#readers, this.#server, this.#engine]) await process.end();
	}
}

/** What there is too much of. */
function excesses(before, after) {
	return Object.keys(TOLERANCES).filter(
		(name) => after[name] > before[name] + TOLERANCES[name](before[name])
	);
}

async function soak(name, backend, seconds) {
	const turn = new Turn(name, backend);
	await turn.start();
	await turn.storm(WARM_UP_S);
	turn.before = await turn.settle();
	await turn.storm(seconds);
	turn.after = await turn.settle();
	turn.excesses = excesses(turn.before, turn.after);
	await turn.end();
	return turn;
}

function print({ name, before, after, excesses, faults, counts, samples }) {
	const most = (key) => Math.max(...samples.map((sample) => sample[key]));
	console.log(`\n## ${name}\n`);
	console.log(`Faults: ${JSON.stringify(faults)}. Readers: ${JSON.stringify(counts)}.\n`);
	console.log('| | before | most | after | |');
	console.log('| --- | --- | --- | --- | --- |');
	for (const key of ['streams', ...Object.keys(TOLERANCES)]) {
		const isBytes = key === 'heap' || key === 'rss';
		const show = (value) => (isBytes ? `${(value / MB).toFixed(1)} MB` : String(value));
		const verdict = excesses.includes(key) ? 'too much' : 'ok';
		console.log(
			`| ${key} | ${show(before[key])} | ${show(most(key))} | ${show(after[key])} | ${verdict} |`
		);
	}
}

if (!options.built) buildApp();
const servers = await loadBackends();
const BACKENDS = {
	memory: { isHere: true },
	redis: { isHere: servers.hasRedis, kind: servers.RedisServer, variable: 'REDIS_URL' },
	postgres: { isHere: servers.hasPostgres, kind: servers.PostgresServer, variable: 'DATABASE_URL' }
};
const names = options.backends.split(',').filter((name) => BACKENDS[name].isHere);
const seconds = (Number(options.minutes) * 60) / names.length;
console.log(`${STREAMS} streams, ${Math.round(seconds)} s for each of ${names.join(', ')}`);
const turns = [];
for (const name of names) {
	const { kind, variable } = BACKENDS[name];
	const server = await kind?.start();
	try {
		const backend = server && { server, env: { [variable]: server.url } };
		turns.push(await soak(name, backend, seconds));
		print(turns.at(-1));
		writeFileSync(file('samples.json'), JSON.stringify(turns, null, '\t'));
		writeFileSync(benchFile('../../docs/soak.svg'), drawChart(turns));
	} finally {
		await server?.close();
	}
}
process.exit(turns.some(({ excesses }) => excesses.length > 0) ? 1 : 0);
