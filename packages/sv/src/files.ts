import type { App } from './app.js';

/** The files for every app: a channel, an event, a function, both routes and a page, by path. */
export function baseFiles(app: App): Record<string, string> {
	const { language, sdk, lib, routes, client, channels, endpoint, functionsRoute } = app;
	const event = `${lib}/realtime/demo-message.${language}`;
	const functions = `${lib}/server/demo-function.${language}`;
	const page = `${routes}/realtime/+page.svelte`;
	const panel = `${routes}/realtime/Live.svelte`;
	const lang = language === 'ts' ? ' lang="ts"' : '';
	/** `import { name } from …` as the module `from` writes it. */
	const importOf = (from: string, name: string, to: string): string =>
		`import { ${name} } from '${app.specifier(from, to)}';`;
	const inngest = (from: string): string => importOf(from, client.name, client.path);

	return {
		[channels]: channelText(sdk),
		[event]: `import { defineEvent } from 'sveltekit-inngest';
import { z } from 'zod';

/** A page sends this. It has no handler, so it goes to Inngest. */
export const demoMessage = defineEvent('demo/message', {
	schema: z.object({ message: z.string().min(1) })
});
`,
		[client.path]: clientText(sdk),
		[functions]: `${importOf(functions, 'demoChannel', channels)}
${importOf(functions, 'demoMessage', event)}
${inngest(functions)}

${functionText(app)}`,
		[functionsRoute]: `${importOf(functionsRoute, 'demoFunction', functions)}
${inngest(functionsRoute)}
import { serve } from 'inngest/sveltekit';

export const { GET, POST, PUT } = serve({ client: ${client.name}, functions: [demoFunction] });
`,
		...(endpoint && {
			[endpoint]: `${importOf(endpoint, 'demoChannel', channels)}
${importOf(endpoint, 'demoMessage', event)}
${inngest(endpoint)}
import { createRealtime } from 'sveltekit-inngest/server';

export const { GET, POST } = createRealtime({
	inngest${client.name === 'inngest' ? '' : `: ${client.name}`},
	channels: {
		// Who may read it? Use \`locals\` of the request, which your hooks have set.
		demo: { channel: demoChannel, authorize: () => true }
	},
	events: {
		// Who may send it?
		demoMessage: { event: demoMessage, authorize: () => true }
	},
	onFailure: ({ stage, channelId, message, error }) => {
		console.error('[realtime]', { stage, channelId, message, error });
	}
});
`
		}),
		[page]: `<script${lang}>
	${importOf(page, 'demoChannel', channels)}
	import { RealtimeManager } from 'sveltekit-inngest';
	import Live from './Live.svelte';
</script>

<RealtimeManager subscriptions={[{ channel: demoChannel }]}>
	<Live />
</RealtimeManager>
`,
		[panel]: `<script${lang}>
	${importOf(panel, 'demoChannel', channels)}
	${importOf(panel, 'demoMessage', event)}
	import {
		getRealtimeBusSend,
		getRealtimeBusState,
		getRealtimeBusTopicMessages
	} from 'sveltekit-inngest';

	const { health } = getRealtimeBusState(demoChannel);
	const messages = getRealtimeBusTopicMessages(demoChannel, 'message', { limit: 20 });
	const send = getRealtimeBusSend(demoMessage);
	let message = $state('Hello');
</script>

<p>Connection: {health.current.status}</p>

<form
	onsubmit={(event) => {
		event.preventDefault();
		send({ message });
	}}
>
	<input bind:value={message} aria-label="Message" />
	<button>Send</button>
</form>
<p role="alert">{send.error?.message}</p>

<ul>
	{#each messages.current as { cursor, data } (cursor)}
		<li>{data.message}</li>
	{/each}
</ul>
`
	};
}

function channelText(sdk: 3 | 4): string {
	if (sdk === 3)
		return `import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';

export const demoChannel = channel('demo').addTopic(
	topic('message').schema(z.object({ message: z.string() }))
);
`;
	return `import { realtime } from 'inngest/realtime';
import { z } from 'zod';

export const demoChannel = realtime.channel({
	name: 'demo',
	topics: { message: { schema: z.object({ message: z.string() }) } }
});
`;
}

function clientText(sdk: 3 | 4): string {
	if (sdk === 3)
		return `import { realtimeMiddleware } from '@inngest/realtime/middleware';
import { Inngest } from 'inngest';

export const inngest = new Inngest({ id: 'my-app', middleware: [realtimeMiddleware()] });
`;
	return `import { Inngest } from 'inngest';

export const inngest = new Inngest({ id: 'my-app' });
`;
}

function functionText({ sdk, client }: App): string {
	if (sdk === 3)
		return `/** Tells everyone on the channel. */
export const demoFunction = ${client.name}.createFunction(
	{ id: 'demo-message' },
	{ event: demoMessage.name },
	async ({ event, publish }) => {
		await publish(demoChannel().message({ message: event.data.message }));
	}
);
`;
	return `/** Tells everyone on the channel. */
export const demoFunction = ${client.name}.createFunction(
	{ id: 'demo-message', triggers: [{ event: demoMessage.name }] },
	async ({ event, step }) => {
		await step.realtime.publish('tell', demoChannel.message, { message: event.data.message });
	}
);
`;
}
