// The floor below the floor: `node:http` that writes one shared frame to every response.
import { createServer } from 'node:http';
import { WebSocket } from 'ws';

const { ENGINE_URL } = process.env;
const responses = new Set();
const answer = await fetch(`${ENGINE_URL}/v1/realtime/token`, {
	method: 'POST',
	body: JSON.stringify([{ channel: 'bench', name: 'tick', kind: 'run' }])
});
const { jwt } = await answer.json();
const socket = new WebSocket(
	`${ENGINE_URL.replace('http', 'ws')}/v1/realtime/connect?token=${jwt}`
);
socket.on('message', (data) => {
	const frame = Buffer.from(`event: message\ndata: ${data}\n\n`);
	for (const response of responses) response.write(frame);
});
createServer((request, response) => {
	request.resume();
	response.writeHead(200, { 'content-type': 'text/event-stream' });
	response.write(': open\n\n');
	responses.add(response);
	response.on('close', () => responses.delete(response));
}).listen(Number(process.env.PORT), '127.0.0.1');
