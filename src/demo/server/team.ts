import { teamChannel } from '$demo/channels.js';
import { realtime } from './realtime.js';

/** Tells open pages that a person's role or right has changed. Pages that miss it show the change later. */
export async function tellOfChange(name: string): Promise<void> {
	try {
		await realtime.publish(teamChannel().people, { changed: name });
	} catch (error) {
		console.warn('[demo] The change could not be published to the team:', error);
	}
}
