import { teamChannel } from '$demo/channels.js';
import { inngest } from '../inngest.js';

export const teamPost = inngest.createFunction(
	{ id: 'team-post' },
	{ event: 'app/team.posted' },
	async ({ event, publish }) => {
		const { from, text, adminsOnly } = event.data;
		const team = teamChannel();
		await publish(adminsOnly ? team['admin-note']({ from, text }) : team.post({ from, text }));
	}
);
