// The table of results, on standard output and in the documentation.
import { readFile, writeFile } from 'node:fs/promises';

const START = '<!-- matrix:start -->';
const END = '<!-- matrix:end -->';

/** Rows as a Markdown table, padded as Prettier pads it. */
export function renderTable(rows) {
	const columns = Object.keys(rows[0]);
	const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))];
	const widths = columns.map((_, index) =>
		Math.max(...lines.map((line) => [...line[index]].length), 3)
	);
	const render = (line) =>
		`| ${line.map((cell, index) => cell + ' '.repeat(widths[index] - [...cell].length)).join(' | ')} |`;
	const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
	return [render(lines[0]), rule, ...lines.slice(1).map(render)].join('\n');
}

/** Puts the table between the marks of a document. */
export async function writeTable(path, table) {
	const text = await readFile(path, 'utf8');
	const start = text.indexOf(START);
	const end = text.indexOf(END);
	if (start < 0 || end < start) throw new Error(`${path} has no marks for the table.`);
	await writeFile(path, `${text.slice(0, start + START.length)}\n\n${table}\n\n${text.slice(end)}`);
}
