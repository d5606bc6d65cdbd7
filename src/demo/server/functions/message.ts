import { demoChannel, userChannel } from '$demo/channels.js';
import { inngest } from '../inngest.js';

export const demoMessage = inngest.createFunction(
	{ id: 'demo-message' },
	{ event: 'app/demo.message' },
	async ({ event, publish }) => {
		const { message, to, adminsOnly } = event.data;
		if (to) await publish(userChannel(to).message({ message }));
		else if (adminsOnly) await publish(demoChannel()['admin-message']({ message }));
		else await publish(demoChannel().message({ message }));
	}
);
