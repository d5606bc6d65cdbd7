import { channel, topic, typeOnlyChannel } from '@inngest/realtime';
import { createRawSnippet, type ComponentProps } from 'svelte';
import { render } from 'svelte/server';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import {
	getRealtimeBus,
	getRealtimeBusState,
	getRealtimeBusTopicState,
	RealtimeManager,
	type ChannelLike
} from '../../src/lib/client/index.js';
import { RealtimeBus } from '../../src/lib/client/bus/bus.js';
import { HttpTransport } from '../../src/lib/client/transport/http.js';
import { resolveSubscriptions } from '../../src/lib/client/subscriptions.js';
import { startInngestDev } from '../../src/lib/dev/index.js';
import { createRealtime, type RealtimeEndpointOptions } from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { FakePage } from '../support/client/page.js';
import { serve } from '../support/server.js';
import type { SseReader } from '../support/sse.js';
import { inngestAt, startWorld, type World } from '../support/world.js';

type Options<T extends Record<string, ChannelLike>> = Partial<
	Omit<RealtimeEndpointOptions<T>, 'inngest'>
>;

const closers: (() => unknown)[] = [];
let warnings: string[];
beforeEach(() => {
	warnings = [];
	vi.spyOn(console, 'error').mockImplementation(() => {});
	vi.spyOn(console, 'warn').mockImplementation((text) => void warnings.push(String(text)));
});
afterEach(async () => {
	for (const close of closers.splice(0).reverse()) await close();
	vi.restoreAllMocks();
	vi.unstubAllGlobals();
	vi.unstubAllEnvs();
});

const allowed = { channel: demoChannel, authorize: () => true };

async function world<const T extends Record<string, ChannelLike>>(
	options: Options<T> = {}
): Promise<World> {
	const started = await startWorld({ channels: { demo: allowed }, ...options } as Parameters<
		typeof startWorld
	>[0]);
	closers.push(() => started.close());
	return started;
}

/** The text of a refusal. */
async function refused<const T extends Record<string, ChannelLike>>(
	options: Options<T>,
	body: unknown
): Promise<string> {
	return String((await (await world(options)).post(body)).body.error);
}

/** The text that a channel of a stream ends with. */
async function lastDetail(stream: SseReader): Promise<string> {
	await stream.end();
	return String(stream.health().at(-1)?.detail);
}

/** What the app is told when a stream needs a token and does not get one. */
async function tokenError(lose: (world: World) => unknown): Promise<string> {
	vi.stubEnv('INNGEST_DEV', undefined);
	let told = '';
	const started = await world({
		onFailure: ({ error }) => void (told = (error as Error).message)
	});
	await lose(started);
	await (await started.open({ channel: 'demo' })).end();
	return told;
}

const dated = channel('dated').addTopic(topic('at').schema(z.object({ at: z.date() })));

const thrown = (act: () => unknown): string => {
	try {
		act();
	} catch (error) {
		return (error as Error).message;
	}
	throw new Error('Nothing was thrown.');
};

type Subscriptions = ComponentProps<typeof RealtimeManager>['subscriptions'];

/** Renders a manager with something inside. */
function manager(subscriptions: Subscriptions, inside: () => unknown = () => {}): string {
	const children = createRawSnippet(() => ({
		render: () => {
			inside();
			return '<p></p>';
		}
	}));
	return render(RealtimeManager, { props: { subscriptions, children } }).body;
}

/** What provokes each text, as the code says it. */
const provoke: Record<string, () => string | Promise<string>> = {
	'a hook outside of a manager': () => thrown(() => getRealtimeBus()),

	'a channel that no manager has': () =>
		thrown(() =>
			manager([{ channel: demoChannel }], () => getRealtimeBusState(userChannel, 'bob'))
		),

	'two subscriptions of one channel': () =>
		thrown(() => manager([{ channel: demoChannel }, { channel: demoChannel }])),

	'a type-only channel without topics': () =>
		thrown(() => manager([{ channel: typeOnlyChannel('open') }])),

	'a channel without its parameters': () =>
		thrown(() => manager([{ channel: userChannel, channelParams: undefined as never }])),

	'a hook that reads a topic that is not subscribed': () => {
		manager([{ channel: demoChannel, topics: ['message'] }], () => {
			void getRealtimeBusTopicState(demoChannel, 'admin-message').current;
		});
		return warnings.join();
	},

	'an endpoint that is none': async () => {
		const server = await serve({
			POST: () => new Response('no', { status: 404, headers: { 'content-type': 'text/html' } })
		});
		closers.push(() => server.close());
		const page = new FakePage();
		vi.stubGlobal('window', page.window);
		vi.stubGlobal('document', page.document);
		const subscriptions = resolveSubscriptions([{ channel: demoChannel }]);
		return new Promise((onFailure) => {
			const bus = new RealtimeBus({
				subscriptions: () => subscriptions,
				connect: (owner) => new HttpTransport(owner),
				settings: () => ({ onFailure: ({ message }) => onFailure(message) })
			});
			closers.push(() => bus.close());
			bus.update({ endpoint: server.url, subscriptions });
		});
	},

	'a channel that no entry has': () => refused({}, { channel: 'other' }),

	'a channel that two entries have': () =>
		refused({ channels: { one: allowed, two: allowed } }, { channel: 'demo' }),

	'a resolver that throws': () => {
		const channelParams = (): string => {
			throw new Error('no database');
		};
		const user = { channel: userChannel, channelParams, authorize: () => true };
		return refused({ channels: { user: user as never } }, { channel: 'user:alice' });
	},

	'a topic that the channel has not': () =>
		refused({}, { channel: 'demo', topics: ['message', 'massage'] }),

	'authorize that says no': () =>
		refused(
			{ channels: { demo: { channel: demoChannel, authorize: () => false } } },
			{ channel: 'demo' }
		),

	'a right that is taken away': async () => {
		let mayRead = true;
		const demo = { channel: demoChannel, authorize: () => mayRead };
		const started = await world({ channels: { demo }, recheckIntervalMs: 100 });
		const stream = await started.open({ channel: 'demo' });
		await stream.connected();
		mayRead = false;
		return lastDetail(stream);
	},

	'a check that throws': async () => {
		let calls = 0;
		const authorize = (): boolean => {
			if (calls++ > 0) throw new Error('no database');
			return true;
		};
		const demo = { channel: demoChannel, authorize };
		const started = await world({ channels: { demo }, recheckIntervalMs: 100 });
		return lastDetail(await started.open({ channel: 'demo' }));
	},

	'a token that is refused': () => tokenError(({ engine }) => engine.failTokens(401)),

	'Inngest that does not run': () => tokenError(({ engine }) => engine.close()),

	'Inngest out of reach at first': async () => {
		const started = await world();
		started.engine.failTokens(500);
		return lastDetail(await started.open({ channel: 'demo' }));
	},

	'Inngest out of reach later': async () => {
		const started = await world();
		const stream = await started.open({ channel: 'demo' });
		await stream.connected();
		started.engine.failTokens(500);
		started.engine.dropSockets();
		await stream.when(() => stream.health().at(-1)?.detail !== undefined, 'the loss');
		return String(stream.health().at(-1)?.detail);
	},

	'too many streams of one reader': async () => {
		const started = await world({ limits: { maxStreamsPerKey: 1 } });
		await started.open({ channel: 'demo' });
		return String((await started.post({ channel: 'demo' })).body.error);
	},

	'too many streams of all': async () => {
		const started = await world({ limits: { maxStreams: 1 } });
		await started.open({ channel: 'demo' });
		return String((await started.post({ channel: 'demo' })).body.error);
	},

	'two endpoints that differ': () => {
		const inngest = inngestAt('http://127.0.0.1:1');
		const create = (lingerMs: number): void => {
			const realtime = createRealtime({ inngest, lingerMs, channels: { demo: allowed } });
			closers.push(() => realtime.close());
		};
		create(1);
		try {
			create(2);
		} catch (error) {
			return (error as Error).message;
		}
		return '';
	},

	'data that changes on its way through JSON': async () => {
		const channel = dated();
		const started = await world({ channels: { dated: { channel, authorize: () => true } } });
		return started.realtime.publish(channel.at, { at: new Date() }).then(
			() => '',
			({ message }: Error) => message
		);
	},

	'reauthorize without per-message checks': async () => {
		await world({ channels: { demo: { ...allowed, reauthorize: () => true } } });
		return warnings.join();
	},

	'an entry that nobody can ask for': async () => {
		await world({ channels: { user: { channel: userChannel, authorize: () => true } } });
		return warnings.join();
	},

	'an app that registers somewhere else': async () => {
		const warned: string[] = [];
		const logger = {
			info: () => {},
			warn: (text: string) => void warned.push(text),
			error: () => {}
		};
		const engine = await startInngestDev({ logger });
		closers.push(() => engine.close());
		const server = await serve({ POST: () => Response.json({}), GET: () => Response.json({}) });
		server.server.removeAllListeners('request');
		server.server.on('request', (_request, response) => response.end('{}'));
		closers.push(() => server.close());
		await engine.register(server.url);
		return warned.join();
	},

	'an unreadable body': () => refused({}, 'not json'),
	'a body without a channel': () => refused({}, {}),
	'a body that is too large': () => refused({}, { channel: 'x'.repeat(70_000) })
};

/** A text as documented, in which `…` stands for anything. */
function pattern(text: string): RegExp {
	return new RegExp(text.split('…').map(escape).join('.+'));
}
function escape(text: string): string {
	return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** Error texts of the page about troubleshooting: code in headings and in the first cells of its tables. */
function documented(page: string): string[] {
	const [, section = ''] = page.split(/^## Texts$/m);
	const [own = ''] = section.split(/^## /m);
	const lines = own.matchAll(/^(?:#{3,} .*|\| *`[^|]*)/gm);
	return [...lines].flatMap(([line]) => [...line.matchAll(/`([^`]+)`/g)].map(([, text]) => text!));
}

const produced = new Map<string, string>();

async function tell(cause: string): Promise<string> {
	const text = produced.get(cause) ?? (await provoke[cause]!());
	produced.set(cause, text);
	return text;
}

test.each(Object.keys(provoke))('%s has a readable text', async (cause) => {
	// The name that a builder makes of a missing parameter.
	const text = (await tell(cause)).replaceAll('"user:undefined"', '"…"');
	expect(text).toMatch(/\w+ \w+/);
	expect(text).not.toMatch(/undefined|\[object/);
});

test('the page about troubleshooting explains texts that the code says, word by word', async () => {
	const page = new URL('../../docs/guides/troubleshooting.md', import.meta.url);
	const texts = documented(readFileSync(page, 'utf8'));
	expect(texts.length).toBeGreaterThan(5);
	const all: string[] = [];
	for (const cause of Object.keys(provoke)) all.push(await tell(cause));
	const unknown = texts.filter((text) => !all.some((one) => pattern(text).test(one)));
	expect(unknown, `none of these is said:\n${all.join('\n')}`).toEqual([]);
});

test('a text that the code does not say is found', () => {
	const text =
		'# X\n\n## Texts\n\n### `Nobody "…" says this`\n\n| `Nor this` | `x` |\n\n## Y\n### `z`';
	expect(documented(text)).toEqual(['Nobody "…" says this', 'Nor this']);
	expect('Nobody "I" says this.').toMatch(pattern('Nobody "…" says this'));
	expect('Nobody says this.').not.toMatch(pattern('Nobody "…" says this'));
});
