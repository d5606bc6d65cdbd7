import { describe, expect, it } from 'vitest';
import { MemoryReplayStore } from '../../src/lib/server/index.js';
import { MemoryPresenceStore } from '../../src/lib/server/backend/memoryPresence.js';
import { MemoryRateLimitStore } from '../../src/lib/server/backend/memoryRateLimit.js';
import {
	presenceContract,
	rateLimitContract,
	replayContract
} from '../../src/lib/testing/contract/index.js';
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

describe('presence and rates in the memory of one process', () => {
	const presence = new MemoryPresenceStore();
	const rateLimit = new MemoryRateLimitStore();
	const driver = { connect: () => ({ name: 'memory', presence, rateLimit }) };
	presenceContract(driver, { it, expect });
	rateLimitContract(driver, { it, expect });
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
