import { describe, expect, it } from 'vitest';
import type { RealtimeBackend } from '../../src/lib/server/backend/backend.js';
import { MemoryPresenceStore } from '../../src/lib/server/backend/memoryPresence.js';
import { MemoryRateLimitStore } from '../../src/lib/server/backend/memoryRateLimit.js';
import { MemoryReplayStore } from '../../src/lib/server/index.js';
import {
	presenceContract,
	rateLimitContract,
	replayContract
} from '../../src/lib/testing/contract/index.js';
import { FakeServer } from '../support/backend.js';
import { SharedLog } from '../support/store.js';

describe('the memory of one process', () => {
	const replay = new MemoryReplayStore();
	replayContract(
		{
			connect: () => ({ name: 'memory', replay }),
			// What only several processes, or a server that can forget, can bring about.
			knownGaps: [
				'an event whose key is known keeps its first cursor',
				'processes that receive events in different orders agree on one',
				'below what was handed out, the log begins a new epoch',
				'a process that no longer listens takes nothing from the others'
			]
		},
		{ it, expect }
	);
});

describe('the store that tests share', () => {
	const shared = new SharedLog();
	replayContract(
		{
			connect: () => ({ name: 'shared', replay: shared.connect() }),
			knownGaps: ['below what was handed out, the log begins a new epoch']
		},
		{ it, expect }
	);
});

describe('members and rates in the memory of one process', () => {
	const presence = new MemoryPresenceStore();
	const rateLimit = new MemoryRateLimitStore();
	const connect = (): RealtimeBackend => ({ name: 'memory', presence, rateLimit });
	presenceContract({ connect }, { it, expect });
	rateLimitContract({ connect }, { it, expect });
});

describe('members and rates that tests share', () => {
	const server = new FakeServer();
	const driver = {
		connect: () => server.connect(),
		stop: () => server.stop(),
		start: () => server.start()
	};
	presenceContract(driver, { it, expect });
	rateLimitContract(driver, { it, expect });
});
