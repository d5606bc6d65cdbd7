// Draws a profile of `npm run bench` as a flame graph.
//   BENCH_PROFILE=/tmp BENCH_SERVERS=hub npm run bench -- 500x100
//   node scripts/flame.mjs /tmp/hub.cpuprofile docs/flame.svg
// Also prints which part of the busy time is spent in whose code.
import { readFileSync, writeFileSync } from 'node:fs';

const [from, to] = process.argv.slice(2);
const WIDTH = 1200;
const ROW = 17;
/** Narrower calls are left out, in pixels. */
const LEAST = 0.7;
/** Calls that are no work of the server: what is idle, and what makes the profile. */
const IDLE = new Set(['(idle)', '(root)', 'dispatch']);

/** Whose code a function is: the first line that fits. */
const OWNERS = [
	['garbage collection', '#f59e0b', ({ functionName }) => functionName === '(garbage collector)'],
	[
		'system calls',
		'#ef4444',
		({ functionName }) =>
			/^(writev?|writeBuffer|writeLatin1String|writeUtf8String|shutdown)$/.test(functionName)
	],
	[
		'this package',
		'#3b82f6',
		({ url }) => /\/chunks\/(endpoint|backend|index)[-.\w]*\.js$/.test(url)
	],
	['SvelteKit', '#a855f7', ({ url }) => url.startsWith('file:') && !url.includes('node_modules')],
	['other modules', '#14b8a6', ({ url }) => url.startsWith('file:')],
	['Node', '#84cc16', ({ url }) => url.startsWith('node:')],
	['native', '#9ca3af', () => true]
];

const ownerOf = (frame) => OWNERS.find(([, , owns]) => owns(frame));

const escape = (text) => text.replace(/[&<>"]/g, (found) => `&#${found.charCodeAt(0)};`);

/** Merges what has the same callers, whatever the line it was called from. */
function merge(profile) {
	const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
	const selfUs = new Map();
	profile.samples.forEach((id, index) =>
		selfUs.set(id, (selfUs.get(id) ?? 0) + profile.timeDeltas[index])
	);
	const root = { name: 'all', us: 0, self: 0, children: new Map() };
	const add = (id, into) => {
		const { callFrame, children = [] } = nodes.get(id);
		let us = 0;
		let target = into;
		if (!IDLE.has(callFrame.functionName)) {
			const file = callFrame.url.replace(/^.*\/(build|node_modules)\//, '');
			const key = `${callFrame.functionName || '(anonymous)'} ${file}`;
			target = into.children.get(key);
			if (!target) {
				target = {
					name: key.trim(),
					owner: ownerOf(callFrame),
					us: 0,
					self: 0,
					children: new Map()
				};
				into.children.set(key, target);
			}
			const self = selfUs.get(id) ?? 0;
			target.self += self;
			us = self;
		}
		for (const child of children) us += add(child, target);
		if (target !== into) target.us += us;
		return us;
	};
	root.us = add(profile.nodes[0].id, root);
	return root;
}

function draw(root) {
	const parts = [];
	let deepest = 0;
	const place = (node, x, depth) => {
		const width = (node.us / root.us) * WIDTH;
		if (width < LEAST) return;
		deepest = Math.max(deepest, depth);
		const share = ((node.us / root.us) * 100).toFixed(1);
		const color = node.owner?.[1] ?? '#d1d5db';
		const label =
			width > 40
				? `<text x="4" y="12">${escape(node.name.slice(0, Math.floor(width / 6.2)))}</text>`
				: '';
		parts.push(
			`<g transform="translate(${x.toFixed(1)} ${depth * ROW})"><title>${escape(node.name)}: ${share} %</title><rect width="${width.toFixed(1)}" fill="${color}"/>${label}</g>`
		);
		let at = x;
		for (const child of [...node.children.values()].sort((a, b) => b.us - a.us)) {
			place(child, at, depth + 1);
			at += (child.us / root.us) * WIDTH;
		}
	};
	place(root, 0, 0);
	const legend = OWNERS.map(
		([name, color], index) =>
			`<g transform="translate(${index * 150} 4)"><rect width="14" fill="${color}"/><text x="20" y="12">${name}</text></g>`
	);
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${(deepest + 1) * ROW + 30}" font-family="system-ui, sans-serif" font-size="11">
<style>rect{height:${ROW - 1}px}</style>
<rect style="width:100%;height:100%" fill="#fff"/>
${legend.join('\n')}
<g transform="translate(0 28)">
${parts.join('\n')}
</g>
</svg>
`;
}

/** Prints the busy time by owner. */
function report(root) {
	const byOwner = new Map();
	const byName = new Map();
	const visit = (node) => {
		if (node.owner) byOwner.set(node.owner[0], (byOwner.get(node.owner[0]) ?? 0) + node.self);
		byName.set(node.name, (byName.get(node.name) ?? 0) + node.self);
		for (const child of node.children.values()) visit(child);
	};
	visit(root);
	for (const totals of [byOwner, byName]) {
		const rows = [...totals].sort((a, b) => b[1] - a[1]).slice(0, 25);
		for (const [name, us] of rows) console.log(`${((us / root.us) * 100).toFixed(1)} %  ${name}`);
		console.log();
	}
}

const root = merge(JSON.parse(readFileSync(from, 'utf8')));
if (to) writeFileSync(to, draw(root));
report(root);
