import { startInngestDev } from '../../src/lib/dev/index.js';
import type { PresencePayload, RealtimeMember } from '../../src/lib/protocol/presence.js';
import {
	createRealtime,
	type Realtime,
	type RealtimeAuthorizeContext,
	type RealtimeEndpointOptions,
	type RealtimePresenceOptions,
	type RealtimeServerFailureContext
} from '../../src/lib/server/index.js';
import { FakeServer } from './backend.js';
import { demoChannel } from './channels.js';
import { serve, type TestServer } from './server.js';
import { openStream, type SseReader } from './sse.js';
import { eventually } from './wait.js';
import { inngestAt } from './world.js';

type Options = Partial<RealtimeEndpointOptions<{ demo: typeof demoChannel }>> & {
	presence?: RealtimePresenceOptions<typeof demoChannel>;
	authorize?: (context: RealtimeAuthorizeContext) => boolean;
	/** Whether it shares the fleet's backend. @default true */
	isShared?: boolean;
};

/** A reader of a room that takes everything and shows nothing. */
export const deaf = {
	name: 'stream',
	run: (work: () => void): void => work(),
	hasRoom: true,
	whenRoom: () => Promise.resolve(),
	push(_chunk: Uint8Array): void {},
	pushSync(_chunks: readonly Uint8Array[]): void {},
	refuse(_failure: Error): void {}
};

/** One stream, and what it shows of the members. */
export class Watcher {
	readonly reader: SseReader;
	readonly user: string;
	readonly #url: string;

	constructor(reader: SseReader, user: string, url: string) {
		this.reader = reader;
		this.user = user;
		this.#url = url;
	}

	get payloads(): PresencePayload[] {
		return this.reader.frames.flatMap(({ event, data }) =>
			(event as string) === 'presence' ? [data as unknown as PresencePayload] : []
		);
	}

	get types(): string[] {
		return this.payloads.map(({ type }) => type);
	}

	/** The members as a page would show them. */
	get members(): Map<string, RealtimeMember> {
		const members = new Map<string, RealtimeMember>();
		for (const payload of this.payloads) {
			if (payload.type === 'sync') members.clear();
			if (payload.type === 'leave') for (const id of payload.ids) members.delete(id);
			else
				for (const member of payload.members) {
					const known = members.get(member.id);
					if (payload.type === 'join' && known) throw new Error(`${member.id} joined twice.`);
					if (payload.type === 'update' && !known) throw new Error(`${member.id} is unknown.`);
					members.set(member.id, { ...known, ...member } as RealtimeMember);
				}
		}
		return members;
	}

	get ids(): string[] {
		return [...this.members.keys()].sort();
	}

	get sync(): Extract<PresencePayload, { type: 'sync' }> {
		return this.payloads.find(({ type }) => type === 'sync') as never;
	}

	/** Sends something about its own member. */
	async send(presence: object, user = this.user, url = this.#url): Promise<Response> {
		return fetch(url, {
			method: 'POST',
			headers: { 'content-type': 'application/json', 'x-user': user },
			body: JSON.stringify({ presence: { stream: this.sync.stream, ...presence } })
		});
	}

	async shows(ids: readonly string[], timeoutMs?: number): Promise<void> {
		const wanted = [...ids].sort().join();
		await eventually(
			() => this.ids.join() === wanted,
			() => `${wanted}; ${this.user} shows ${this.ids.join()}`,
			timeoutMs
		);
	}

	close(): void {
		this.reader.close();
	}
}

/** One process of the app. */
export interface Instance {
	realtime: Realtime;
	server: TestServer;
	failures: RealtimeServerFailureContext[];
	/** Names of hooks that were called, with the member. */
	hooks: string[];
	watch(user: string, body?: object): Promise<Watcher>;
	/** Opens a stream of nobody. */
	open(body: object): Promise<SseReader>;
	/** Ends it as SIGKILL does: without a word to anybody. */
	kill(): void;
	close(): Promise<void>;
}

/** Several processes that share a backend, over real HTTP. The header `x-user` names the user. */
export class People {
	readonly server = new FakeServer();
	readonly instances: Instance[] = [];
	#engine: Awaited<ReturnType<typeof startInngestDev>> | undefined;

	async start({
		presence,
		authorize,
		isShared = true,
		...options
	}: Options = {}): Promise<Instance> {
		this.#engine ??= await startInngestDev();
		const failures: RealtimeServerFailureContext[] = [];
		const hooks: string[] = [];
		const line = { isCut: false };
		let isDead = false;
		const hook =
			(name: string) =>
			({ member }: { member: RealtimeMember }): void => {
				if (!isDead) hooks.push(`${name} ${member.id}`);
			};
		const realtime = createRealtime({
			inngest: inngestAt(this.#engine.url),
			identify: ({ event }) => event.request.headers.get('x-user') || null,
			channels: {
				demo: {
					channel: demoChannel,
					authorize: authorize ?? (() => true),
					source: false,
					presence: {
						onJoin: hook('join'),
						onLeave: hook('leave'),
						onFull: hook('full'),
						...presence
					}
				}
			},
			...(isShared && { backend: this.server.connect(200, line) }),
			onFailure: (failure) => void failures.push(failure),
			...options
		});
		const http = await serve(realtime);
		const watchers: Watcher[] = [];
		const instance: Instance = {
			realtime,
			server: http,
			failures,
			hooks,
			async watch(user, body = {}) {
				const reader = await openStream(
					http.url,
					{ channel: 'demo', ...body },
					user ? { 'x-user': user } : {}
				);
				const watcher = new Watcher(reader, user, http.url);
				watchers.push(watcher);
				await reader.when(() => watcher.types.includes('sync'), 'a sync');
				return watcher;
			},
			async open(body) {
				const reader = await openStream(http.url, body);
				watchers.push(new Watcher(reader, '', http.url));
				return reader;
			},
			kill() {
				line.isCut = true;
				// What the backend has answered already is on its way.
				setTimeout(() => (isDead = true), 50);
				http.server.closeAllConnections();
			},
			async close() {
				for (const watcher of watchers) watcher.close();
				realtime.close();
				await http.close();
			}
		};
		this.instances.push(instance);
		return instance;
	}

	/** Hooks that were called in any process, sorted. */
	get hooks(): string[] {
		return this.instances.flatMap(({ hooks }) => hooks).sort();
	}

	async close(): Promise<void> {
		await Promise.all(this.instances.splice(0).map((instance) => instance.close()));
		await this.#engine?.close();
		this.#engine = undefined;
	}
}
