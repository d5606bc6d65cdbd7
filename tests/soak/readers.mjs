// The browsers of a soak, as a process of its own: streams that come and go, and come back with their cursors.
import { connect } from 'node:net';

/** Seconds that a reader stays, at least and at most. */
const STAY_S = [2, 30];
/** How long a stalled reader reads nothing, in milliseconds. */
const STALL_MS = 5_000;
const USER_CHANNELS = 20;
/** Most readers that come in one step. */
const PER_STEP = 40;

const readers = new Set();
const counts = { opened: 0, refused: 0, received: 0, cut: 0, resumed: 0 };
let port;
let wanted = 0;
/** Readers that were cut, and come back in a moment. */
let returning = 0;

const between = (min, max) => min + Math.random() * (max - min);

/** A few channels have one reader in ten each; half of all read the same one. */
function pick() {
	const dice = Math.random();
	if (dice < 0.1) return { path: '/presence', channel: 'bench' };
	if (dice < 0.6) return { path: '/realtime', channel: 'bench' };
	return { path: '/realtime', channel: `user:${Math.floor(Math.random() * USER_CHANNELS)}` };
}

function come({ path, channel, cursor } = pick()) {
	const socket = connect(port, '127.0.0.1').setEncoding('latin1');
	const reader = { socket, path, channel, cursor };
	const body = JSON.stringify({ channel, lastEventId: cursor });
	const head = [
		`POST ${path} HTTP/1.1`,
		`host: localhost:${port}`,
		`origin: http://localhost:${port}`,
		'content-type: application/json',
		`x-user: ${Math.floor(Math.random() * 500)}`,
		`content-length: ${body.length}`
	];
	readers.add(reader);
	counts.opened++;
	if (cursor) counts.resumed++;
	socket.on('connect', () => socket.write(`${head.join('\r\n')}\r\n\r\n${body}`));
	let isFirst = true;
	socket.on('data', (text) => {
		if (isFirst && !text.startsWith('HTTP/1.1 200')) {
			counts.refused++;
			socket.destroy();
		}
		isFirst = false;
		for (const [, id] of text.matchAll(/^id: (\S+)\n/gm)) {
			reader.cursor = id;
			counts.received++;
		}
	});
	const leave = setTimeout(() => go(reader), between(...STAY_S) * 1_000);
	socket.on('error', () => {});
	socket.on('close', () => {
		clearTimeout(leave);
		// Who did not leave comes back, with what it has.
		if (!readers.delete(reader)) return;
		counts.cut++;
		returning++;
		setTimeout(
			() => {
				returning--;
				if (readers.size < wanted) come(reader);
			},
			between(100, 1_500)
		);
	});
}

function go(reader) {
	readers.delete(reader);
	reader.socket.destroy();
}

setInterval(() => {
	for (let n = 0; n < PER_STEP && readers.size + returning < wanted; n++) come();
}, 100);

const some = (share) => [...readers].filter(() => Math.random() < share);

const COMMANDS = {
	come: (given) => ({ port, count: wanted } = given),
	leave: () => {
		wanted = 0;
		for (const reader of [...readers]) go(reader);
	},
	cut: () => some(0.3).forEach(({ socket }) => socket.destroy()),
	stall: () => {
		for (const { socket } of some(0.1)) {
			socket.pause();
			setTimeout(() => socket.resume(), STALL_MS);
		}
	},
	count: () => {}
};

process.on('message', ({ command, ...given }) => {
	COMMANDS[command](given);
	process.send({ ...counts, open: readers.size });
});
process.send({});
