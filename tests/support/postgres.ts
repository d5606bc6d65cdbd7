import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';
import postgres from 'postgres';
import type { PostgresClient } from '../../src/lib/postgres/index.js';
import { freePort } from './ports.js';

const ROOT = '/usr/lib/postgresql';

/** The folder of the newest server's programs; Debian keeps one per major version. */
const BIN = existsSync(ROOT)
	? readdirSync(ROOT)
			.sort((a, b) => Number(b) - Number(a))
			.map((version) => join(ROOT, version, 'bin'))
			.find((bin) => existsSync(join(bin, 'postgres')))
	: undefined;

/** Whether there is a server to test with. */
export const hasPostgres = BIN !== undefined;

if (!hasPostgres) console.warn('PostgreSQL is not installed: the tests that need it are skipped.');

/** The server refuses to run as root. */
const USER = process.getuid?.() === 0 ? { uid: id('-u'), gid: id('-g') } : {};

function id(flag: string): number {
	return Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
}

/** A PostgreSQL server of its own, on a free port and in a temporary folder. */
export class PostgresServer {
	readonly port: number;
	readonly #folder: string;
	#process: ChildProcess | undefined;

	private constructor(port: number, folder: string) {
		this.port = port;
		this.#folder = folder;
	}

	static async start(): Promise<PostgresServer> {
		const folder = mkdtempSync(join(tmpdir(), 'postgres-'));
		if (USER.uid !== undefined) chownSync(folder, USER.uid, USER.gid!);
		const server = new PostgresServer(await freePort(), folder);
		const { status, stderr } = spawnSync(
			join(BIN!, 'initdb'),
			['-D', server.#data, '-U', 'app', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
			{ ...USER, cwd: folder, encoding: 'utf8' }
		);
		if (status !== 0) throw new Error(`initdb failed: ${stderr}`);
		await server.start();
		return server;
	}

	/** A connection string. */
	get url(): string {
		return `postgres://app@127.0.0.1:${this.port}/postgres`;
	}

	get #saved(): string {
		return join(this.#folder, 'saved');
	}

	get #data(): string {
		return join(this.#folder, 'data');
	}

	async start(): Promise<void> {
		const options = [
			['fsync', 'off'],
			['listen_addresses', '127.0.0.1'],
			['unix_socket_directories', ''],
			['max_connections', '200'],
			['log_min_messages', 'fatal']
		].flatMap(([name, value]) => ['-c', `${name}=${value}`]);
		const child = spawn(
			join(BIN!, 'postgres'),
			['-D', this.#data, '-p', `${this.port}`, ...options],
			{
				...USER,
				cwd: this.#folder,
				stdio: 'ignore'
			}
		);
		this.#process = child;
		let client: pg.Client;
		for (const deadline = Date.now() + 15_000; ;) {
			client = new pg.Client(this.url);
			client.on('error', () => {});
			const isUp = await client.connect().then(
				() => true,
				() => false
			);
			if (isUp) break;
			if (Date.now() > deadline || child.exitCode !== null)
				throw new Error('postgres did not start.');
			await new Promise((resolve) => setTimeout(resolve, 30));
		}
		await client.end();
	}

	/** Ends the server at once. */
	async stop(): Promise<void> {
		const child = this.#process;
		if (!child || child.exitCode !== null || child.signalCode !== null) return;
		const exited = new Promise((resolve) => child.once('exit', resolve));
		this.#signalAll('SIGCONT');
		child.kill('SIGQUIT');
		await exited;
		await this.#restore();
	}

	/** From now on it accepts connections and never answers. */
	async freeze(): Promise<void> {
		this.#signalAll('SIGSTOP');
	}

	async thaw(): Promise<void> {
		this.#signalAll('SIGCONT');
	}

	/** What it has now is what it has after the next stop, as after a failover to a replica that lags. */
	async save(): Promise<void> {
		await this.query('checkpoint');
		await rm(this.#saved, { recursive: true, force: true });
		spawnSync('cp', ['-a', this.#data, this.#saved]);
	}

	async #restore(): Promise<void> {
		if (!existsSync(this.#saved)) return;
		await rm(this.#data, { recursive: true });
		await rename(this.#saved, this.#data);
		await rm(join(this.#data, 'postmaster.pid'), { force: true });
	}

	async query(text: string): Promise<Record<string, unknown>[]> {
		const client = new pg.Client(this.url);
		await client.connect();
		try {
			const { rows } = await client.query(text);
			return rows as Record<string, unknown>[];
		} finally {
			await client.end();
		}
	}

	async close(): Promise<void> {
		await this.stop();
		await rm(this.#folder, { recursive: true, force: true });
	}

	/** Connections have a process each. */
	#signalAll(signal: NodeJS.Signals): void {
		const pid = this.#process?.pid;
		if (pid === undefined) return;
		const { stdout } = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' });
		for (const child of [pid, ...stdout.split('\n').filter(Boolean).map(Number)]) {
			try {
				process.kill(child, signal);
			} catch {
				// It has ended since.
			}
		}
	}
}

/** A client of one process, and how it is ended. */
export interface TestClient {
	client: PostgresClient;
	end(): Promise<void>;
}

/** Clients that the backend takes, by the name of their library. */
export const clients = {
	pg: (server: PostgresServer): TestClient => {
		const pool = new pg.Pool({ connectionString: server.url });
		return { client: pool, end: () => pool.end() };
	},
	postgres: (server: PostgresServer): TestClient => {
		const sql = postgres(server.url, { onnotice: () => {} });
		return { client: sql, end: () => sql.end({ timeout: 0 }) };
	}
};

/** The database of this process. It takes a while to start: share it. */
export async function openPGlite(): Promise<PGlite> {
	const database = new PGlite();
	await database.waitReady;
	return database;
}
