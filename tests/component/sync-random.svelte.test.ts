import { test } from 'vitest';
import { createPublisher, syncTables } from '../../src/lib/sync/server/index.js';
import { createTestRealtime, type TestRealtime } from '../../src/lib/testing/index.js';
import { liveAtRandom, type Database, type RandomServer } from '../support/sync/random.js';
import { personOf } from '../support/sync/todos.js';

/** A server in this page. What it knows besides its database dies with it. */
function create(database: Database): RandomServer {
	let life = { isOver: true };
	let realtime: TestRealtime;
	/** Requests that are on their way when the server is killed get no answer. */
	let died = Promise.withResolvers<never>();
	let publisher: RandomServer['publisher'];
	return {
		endpoint: '/',
		get publisher() {
			return publisher;
		},
		fetch: (user, teams) => async (input, init) => {
			if (life.isOver) throw new TypeError('The server is away');
			const headers = { ...(init?.headers as object), 'x-user': user, 'x-teams': teams.join() };
			return Promise.race([realtime.fetch(input, { ...init, headers }), died.promise]);
		},
		async start() {
			if (!life.isOver) return;
			life = { isOver: false };
			died = Promise.withResolvers();
			died.promise.catch(() => {});
			const syncs = database.tables(life);
			realtime = createTestRealtime({
				identify: ({ event }) => personOf(event.request),
				onFailure() {},
				...syncTables(syncs)
			});
			publisher = createPublisher(realtime, syncs);
		},
		async kill() {
			if (life.isOver) return;
			life.isOver = true;
			died.reject(new TypeError('The server was killed'));
			realtime.cut();
			realtime.close();
		}
	};
}

test('in a real browser too: when things are quiet all copies are the rows of their scope', () =>
	liveAtRandom({ runs: 1, steps: 60, seed: Date.now() & 0xffff, create }));
