import { messages } from '$demo/server/live.js';
import type { RequestHandler } from './$types.js';

/** The messages of the demo channel, one line of JSON each: `curl -N localhost:5173/api/messages`. */
export const GET: RequestHandler = (event) => {
	const items = messages(event);
	const encoder = new TextEncoder();
	const body = new ReadableStream({
		// The headers are sent with the first bytes, and the first message may take a while.
		start: (controller) => controller.enqueue(encoder.encode('\n')),
		async pull(controller) {
			const { done, value } = await items.next();
			if (done) controller.close();
			else controller.enqueue(encoder.encode(`${JSON.stringify(value)}\n`));
		},
		cancel: () => void items.return?.()
	});
	return new Response(body, { headers: { 'content-type': 'application/x-ndjson' } });
};
