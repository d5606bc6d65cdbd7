import { createRealtime } from 'sveltekit-inngest/server';
import {
	answerChannel,
	counterChannel,
	demoChannel,
	jobChannel,
	teamChannel,
	userChannel
} from '$demo/channels.js';
import { inngest } from './inngest.js';
import { findPerson } from './people.js';

/** Reads the name out of a channel such as `user:alice`, for the channel's builder. */
const nameAfter = (prefix: string) => (_event: unknown, channelId: string) =>
	channelId.startsWith(prefix) ? channelId.slice(prefix.length) : '';

/** Lets people read the channel that bears their own name. */
const ownOnly =
	(prefix: string) =>
	({ locals, channelId }: { locals: App.Locals; channelId: string }) =>
		channelId === prefix + locals.person.name;

/** What a page needs that wants more than the endpoint: `publish()`, `subscribe()` and `stats()`. */
export const realtime = createRealtime({
	inngest,
	// Rights are looked at again although nothing is published: this is what ends a revoked reader.
	recheckIntervalMs: 2_000,
	healthCheck: { intervalMs: 5_000 },
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
				if (!locals.person.gateOpen) throw new Error('The gate is closed');
				return true;
			}
		},
		user: {
			channel: userChannel,
			channelParams: nameAfter('user:'),
			authorize: ({ locals, channelId }) => channelId === `user:${locals.user?.name}`
		},
		team: {
			channel: teamChannel,
			authorize: ({ locals, topics }) => {
				// `locals` is as old as the stream. What can be taken away is read where it is kept.
				const person = findPerson(locals.person.name);
				if (!person || person.role === 'guest') throw new Error('Sign in to read the team feed');
				if (!person.mayRead) throw new Error('Your right to read the team feed was taken away');
				if (person.role === 'admin') return true;
				return { allowedTopics: topics.filter((topic) => topic !== 'admin-note') };
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
		}
	},
	onFailure: ({ stage, channelId, message, error }) => {
		const text = `[realtime:${stage}] ${channelId ?? ''} ${message}`;
		if (error) console.warn(text, error instanceof Error ? error.message : error);
		else console.info(text);
	}
});
