import { chat, news } from './channels.js';
import { inngest } from './inngest.js';

export const functions = [
	inngest.createFunction(
		{ id: 'hello' },
		{ event: 'matrix/hello' },
		async ({ event, step, publish }) => {
			const { text } = event.data as { text: string };
			await publish(news().story({ title: text, at: new Date() }));
			await step.run('between', () => text);
			await publish(chat('lobby').message({ text }));
		}
	)
];
