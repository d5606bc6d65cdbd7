import { chat, news } from './channels.js';
import { inngest } from './inngest.js';

export const functions = [
	inngest.createFunction(
		{ id: 'hello', triggers: { event: 'matrix/hello' } },
		async ({ event, step }) => {
			const { text } = event.data as { text: string };
			await inngest.realtime.publish(news.story, { title: text, at: new Date() });
			await step.realtime.publish('greet', chat('lobby').message, { text });
		}
	)
];
