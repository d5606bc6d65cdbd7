// The curves of a soak as a picture: one panel per quantity, one line per backend.
const WIDTH = 900;
const PANEL = { width: 430, height: 150, left: 55, top: 30 };
const ROW = PANEL.height + 60;
const COLORS = { memory: '#2563eb', redis: '#dc2626', postgres: '#059669' };

const MB = 1024 * 1024;
const PANELS = [
	{ title: 'Open streams', of: (sample) => sample.streams },
	{ title: 'Heap after a collection, MB', of: (sample) => sample.heap / MB },
	{ title: 'Resident memory, MB', of: (sample) => sample.rss / MB },
	{ title: 'Sockets', of: (sample) => sample.sockets },
	{ title: 'Timers', of: (sample) => sample.timers },
	{ title: 'Feeds', of: (sample) => sample.feeds }
];

/** The next 1, 2 or 5 times a power of ten. */
function roundUp(value) {
	const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
	return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function drawPanel({ title, of }, index, turns, seconds) {
	const x0 = PANEL.left + (index % 2) * (PANEL.width + 15);
	const y0 = 60 + PANEL.top + Math.floor(index / 2) * ROW;
	const width = PANEL.width - PANEL.left - 10;
	const top = roundUp(Math.max(...turns.flatMap(({ samples }) => samples.map(of))));
	const x = (atS) => (x0 + (atS / seconds) * width).toFixed(1);
	const y = (value) => (y0 + PANEL.height - (value / top) * PANEL.height).toFixed(1);
	const parts = [`<text x="${x0}" y="${y0 - 10}" class="title">${title}</text>`];
	for (const share of [0, 0.5, 1]) {
		const at = y(top * share);
		parts.push(`<path d="M${x0} ${at}h${width}" class="grid"/>`);
		parts.push(`<text x="${x0 - 6}" y="${at}" class="value">${top * share}</text>`);
	}
	for (const share of [0, 0.5, 1]) {
		const label = `${((seconds * share) / 60).toFixed(1)} min`;
		parts.push(
			`<text x="${x(seconds * share)}" y="${y0 + PANEL.height + 16}" class="time">${label}</text>`
		);
	}
	for (const { name, samples } of turns) {
		const points = samples.map((sample) => `${x(sample.atS)},${y(of(sample))}`).join(' ');
		parts.push(`<polyline points="${points}" stroke="${COLORS[name]}"/>`);
	}
	return parts.join('\n');
}

/** @returns an SVG of all turns. */
export function drawChart(turns) {
	const seconds = Math.max(...turns.flatMap(({ samples }) => samples.map(({ atS }) => atS)));
	const height = 60 + Math.ceil(PANELS.length / 2) * ROW;
	const legend = turns.map(
		({ name }, index) =>
			`<path d="M${PANEL.left + index * 120} 25h24" stroke="${COLORS[name]}" stroke-width="3"/><text x="${PANEL.left + 32 + index * 120}" y="29" class="time start">${name}</text>`
	);
	const panels = PANELS.map((panel, index) => drawPanel(panel, index, turns, seconds));
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif">
<style>.title{font-size:14px;font-weight:600}.value,.time{font-size:11px;fill:#555}.value{text-anchor:end;dominant-baseline:middle}.time{text-anchor:middle}.start{text-anchor:start}.grid{stroke:#ddd}polyline{fill:none;stroke-width:1.5}</style>
<rect width="100%" height="100%" fill="#fff"/>
${legend.join('\n')}
${panels.join('\n')}
</svg>
`;
}
