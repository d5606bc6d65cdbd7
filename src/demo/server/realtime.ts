import { createRealtime, RealtimeDenied } from 'sveltekit-inngest/server';
import {
	answerChannel,
	boardChannel,
	counterChannel,
	demoChannel,
	jobChannel,
	teamChannel,
	userChannel
} from '$demo/channels.js';
import { backend } from './backend.js';
import { events } from './events.js';
import { inngest } from './inngest.js';
import { todoTables } from './todos.js';

/** Finds the name in a channel such as `user:alice`, as the parameter of the channel's builder. */
const nameAfter = (prefix: string) => (_event: unknown, channelId: string) =>
	channelId.startsWith(prefix) ? channelId.slice(prefix.length) : '';

/** People may read the channel that carries their own name. */
const ownOnly =
	(prefix: string) =>
	({ locals, channelId }: { locals: App.Locals; channelId: string }) =>
		channelId === prefix + locals.person.name;

/** The endpoint, and `publish()`, `subscribe()` and `stats()` for the server's own code. */
export const realtime = createRealtime({
	inngest,
	backend,
	identify: ({ locals }) => locals.person.name,
	// Checks rights again even if nothing is published. This ends the streams of people who lost theirs.
	recheckIntervalMs: 2_000,
	healthCheck: { intervalMs: 5_000 },
	events: { ...events, ...todoTables.events },
	channels: {
		demo: {
			channel: demoChannel,
			authorize: ({ locals, topics }) => {
				if (!locals.user) throw new Error('Missing authenticated user');
				if (locals.user.role === 'admin') return true;
				return { allowedTopics: topics.filter((topic) => topic === 'message') };
			},
			reauthorizeOnEachMessage: true,
			reauthorize: ({ locals }) => {
				if (!locals.person.gateOpen) throw new RealtimeDenied('The gate is closed');
				return true;
			}
		},
		user: {
			channel: userChannel,
			channelParams: nameAfter('user:'),
			authorize: ({ locals, channelId }) =>
				locals.user !== null && channelId === `user:${locals.user.name}`
		},
		team: {
			channel: teamChannel,
			authorize: ({ locals, topics }) => {
				const { role, mayRead } = locals.person;
				if (role === 'guest') throw new RealtimeDenied('Sign in to read the team feed');
				if (!mayRead) throw new RealtimeDenied('Your right to read the team feed was revoked');
				if (role === 'admin') return true;
				return { allowedTopics: topics.filter((topic) => topic !== 'admin-note') };
			}
		},
		board: {
			channel: boardChannel,
			source: false,
			authorize: () => true,
			presence: {
				member: ({ locals }) => ({ data: { name: locals.person.name } }),
				fixed: ['name'],
				graceMs: 3_000
			}
		},
		job: { channel: jobChannel, channelParams: nameAfter('job:'), authorize: ownOnly('job:') },
		answer: {
			channel: answerChannel,
			channelParams: nameAfter('answer:'),
			authorize: ownOnly('answer:')
		},
		counter: {
			channel: counterChannel,
			channelParams: nameAfter('counter:'),
			authorize: ownOnly('counter:')
		},
		...todoTables.channels
	},
	onFailure: ({ stage, channelId, message, error }) => {
		const text = `[realtime:${stage}] ${channelId ?? ''} ${message}`;
		if (error) console.warn(text, error instanceof Error ? error.message : error);
		else console.info(text);
	}
});
