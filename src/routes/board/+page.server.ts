import { fail } from '@sveltejs/kit';
import { boardChannel } from '$demo/channels.js';
import { disperse, gather } from '$demo/server/crowd.js';
import { realtime } from '$demo/server/realtime.js';
import type { Actions } from './$types.js';

export const actions: Actions = {
	async say({ request, locals }) {
		const form = await request.formData();
		const text = String(form.get('text') ?? '')
			.trim()
			.slice(0, 280);
		if (!text) return fail(400, { problem: 'Write something first.' });
		await realtime.emit(boardChannel().line, { from: locals.person.name, text });
	},

	async crowd({ request, fetch }) {
		const form = await request.formData();
		const count = Number(form.get('count'));
		if (count > 0) gather(fetch, Math.min(count, 20));
		else disperse();
	}
};
