import { WebSocket } from 'ws';

// The least that a SvelteKit endpoint can do: one shared frame to every response.
const encoder = new TextEncoder();
const controllers = new Set();
let socket;

async function connect() {
	const { ENGINE_URL } = process.env;
	const response = await fetch(`${ENGINE_URL}/v1/realtime/token`, {
		method: 'POST',
		body: JSON.stringify([{ channel: 'bench', name: 'tick', kind: 'run' }])
	});
	const { jwt } = await response.json();
	socket = new WebSocket(`${ENGINE_URL.replace('http', 'ws')}/v1/realtime/connect?token=${jwt}`);
	socket.on('message', (data) => {
		const frame = encoder.encode(`event: message\ndata: ${data}\n\n`);
		for (const controller of controllers) controller.enqueue(frame);
	});
}

export async function POST({ request }) {
	await request.text();
	if (!socket) await connect();
	let mine;
	return new Response(
		new ReadableStream({
			start(controller) {
				mine = controller;
				controllers.add(controller);
				controller.enqueue(encoder.encode(': open\n\n'));
			},
			cancel: () => controllers.delete(mine)
		}),
		{ headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' } }
	);
}
