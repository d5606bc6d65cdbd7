// The browsers, as a process of its own: many streams read over plain sockets, as cheaply as can be.
import { Agent, request } from 'node:http';
import { connect } from 'node:net';

let streams = [];
let latencies = [];
let received = 0;
let closed = 0;
let measuring = false;
/** Names of the streams of members, with who they are. */
let members = [];
let changing;
let changes = 0;

/** Where a message's time stands in what each server writes. */
const WIRES = {
	envelope: { before: '"t":', after: '}' },
	// A query's value, as SvelteKit encodes it.
	query: { before: '\\"n\\":2},', after: ',' }
};

function open(port, { method = 'POST', path, wire = 'envelope', isPresence }, channel, user) {
	const { before, after } = WIRES[wire];
	return new Promise((resolve, reject) => {
		const body = method === 'GET' ? '' : JSON.stringify({ channel });
		const socket = connect(port, '127.0.0.1');
		let isReady = false;
		let rest = '';
		const timer = setTimeout(() => reject(new Error(`${path} did not connect`)), 60_000);
		socket.setEncoding('latin1');
		socket.on('connect', () =>
			socket.write(
				`${method} ${path} HTTP/1.1\r\nhost: localhost:${port}\r\norigin: http://localhost:${port}\r\ncontent-type: application/json\r\nx-user: ${user}\r\ncontent-length: ${body.length}\r\n\r\n${body}`
			)
		);
		socket.on('data', (text) => {
			if (!isReady) {
				rest += text;
				if (!/"status":"connected"|"type":"result"|: open/.test(rest)) return;
				if (isPresence) {
					const stream = /"stream":"([^"]+)"/.exec(rest)?.[1];
					if (!stream) return;
					members.push({ user, stream });
				}
				isReady = true;
				rest = '';
				clearTimeout(timer);
				resolve(socket);
			}
			if (!measuring) return;
			const now = performance.timeOrigin + performance.now();
			// A frame may be cut by a chunk; what is cut is kept until the rest comes.
			const all = rest + text;
			let from = 0;
			for (;;) {
				const at = all.indexOf(before, from);
				if (at < 0) break;
				const end = all.indexOf(after, at + before.length);
				if (end < 0) break;
				received++;
				if (received % 7 === 0) latencies.push(now - Number(all.slice(at + before.length, end)));
				from = end;
			}
			rest = all.slice(Math.max(from, all.lastIndexOf('\n') + 1));
		});
		socket.on('error', () => {});
		socket.on('close', () => closed++);
	});
}

/** A page that asks once a second, by a connection that it keeps. */
function poll(port, path, offsetMs) {
	const socket = connect(port, '127.0.0.1');
	const head = `POST ${path} HTTP/1.1\r\nhost: localhost:${port}\r\norigin: http://localhost:${port}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
	let rest = '';
	socket.setEncoding('latin1');
	socket.on('data', (text) => {
		rest += text;
		const end = rest.indexOf('"t":');
		if (end < 0 || !rest.includes('}', end)) return;
		rest = '';
		if (measuring) received++;
	});
	socket.on('error', () => {});
	socket.on('close', () => closed++);
	setTimeout(() => {
		const ask = () => !socket.destroyed && socket.write(head);
		ask();
		const timer = setInterval(ask, 1_000);
		socket.on('close', () => clearInterval(timer));
	}, offsetMs);
	return socket;
}

/** Members change, one after the other, by requests on connections that are kept. */
function change(port, path, perSecond) {
	const agent = new Agent({ keepAlive: true, maxSockets: 10 });
	const startedAt = performance.now();
	changes = 0;
	changing = setInterval(() => {
		const due = Math.floor(((performance.now() - startedAt) * perSecond) / 1000);
		for (; changes < due; changes++) {
			const { user, stream } = members[changes % members.length];
			const t = performance.timeOrigin + performance.now();
			const headers = {
				'content-type': 'application/json',
				origin: `http://localhost:${port}`,
				'x-user': user
			};
			const sent = request({ port, path, method: 'POST', agent, headers }, (response) =>
				response.resume()
			);
			sent.on('error', () => {});
			sent.end(JSON.stringify({ presence: { stream, data: { t } } }));
		}
	}, 2);
}

process.on('message', async ({ command, port, target, channels, count, perSecond }) => {
	if (command === 'change') {
		if (perSecond) change(port, target.path, perSecond);
		else clearInterval(changing);
		process.send({ published: changes });
	}
	if (command === 'changes') process.send({ published: changes });
	if (command === 'poll') {
		closed = 0;
		streams = Array.from({ length: count }, (_, n) => poll(port, target.path, (n * 1_000) / count));
		process.send({ open: count });
	}
	if (command === 'open') {
		closed = 0;
		for (let from = 0; from < count; from += 50) {
			const batch = Array.from({ length: Math.min(50, count - from) }, (_, index) =>
				open(port, target, channels[(from + index) % channels.length], streams.length + index)
			);
			streams.push(...(await Promise.all(batch)));
		}
		process.send({ open: streams.length });
	}
	if (command === 'measure') {
		latencies = [];
		received = 0;
		measuring = true;
		process.send({});
	}
	if (command === 'result') {
		measuring = false;
		latencies.sort((a, b) => a - b);
		const at = (share) => latencies[Math.floor(latencies.length * share)] ?? 0;
		process.send({ received, closed, p50: at(0.5), p99: at(0.99) });
	}
	if (command === 'close') {
		for (const stream of streams) stream.destroy();
		streams = [];
		process.send({});
	}
});
process.send({});
