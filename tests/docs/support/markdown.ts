import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The package's root, with a slash at the end. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** A fenced block of code. */
export interface Block {
	/** The Markdown file that contains it, relative to the root. */
	page: string;
	/** Line number of its first line of code in that file, from 1. */
	line: number;
	lang: string;
	/** Name of the file of an app that it shows, from a comment in its first line. */
	file: string | undefined;
	/** Major version of inngest that it is for: 3 in a section whose heading names inngest 3, else 4. */
	generation: 3 | 4;
	text: string;
}

/** A Markdown file. */
export interface Page {
	/** Relative to the root. */
	name: string;
	text: string;
	blocks: Block[];
	headings: string[];
	links: { target: string; line: number }[];
}

const FILE_NAME = /^\s*(?:\/\/|<!--)\s*([\w$@+.()[\]/-]+\.(?:ts|js|svelte))\b/;
const LINKS = [
	/\]\(\s*<?([^)\s>]+)/g,
	/\b(?:href|src|srcset)="([^"\s]+)/g,
	/^\[[^\]]+\]:\s*(\S+)/g
];

export function readPage(name: string, text = readFileSync(ROOT + name, 'utf8')): Page {
	const page: Page = { name, text, blocks: [], headings: [], links: [] };
	let fence: { indent: number; mark: string; block: Block; lines: string[] } | undefined;
	/** Level of the heading of the current section about inngest 3. */
	let variant: number | undefined;
	for (const [index, line] of text.split('\n').entries()) {
		if (fence) {
			if (line.trim() === fence.mark) {
				const { block, lines } = fence;
				block.text = lines.join('\n');
				block.file = FILE_NAME.exec(lines[0] ?? '')?.[1];
				page.blocks.push(block);
				fence = undefined;
			} else fence.lines.push(line.slice(Math.min(fence.indent, line.search(/\S|$/))));
			continue;
		}
		const [, indent, mark, lang] = /^(\s*)(`{3,})(\w*)/.exec(line) ?? [];
		if (mark) {
			const block: Block = {
				page: name,
				line: index + 2,
				lang: lang ?? '',
				file: undefined,
				generation: variant === undefined ? 4 : 3,
				text: ''
			};
			fence = { indent: indent!.length, mark, block, lines: [] };
			continue;
		}
		const [, marks, heading] = /^(#{1,6}) (.*)$/.exec(line) ?? [];
		if (marks && heading) {
			page.headings.push(heading);
			if (heading.includes('inngest 3')) variant = marks.length;
			else if (variant !== undefined && marks.length <= variant) variant = undefined;
		}
		for (const pattern of LINKS) {
			for (const match of line.matchAll(pattern)) {
				page.links.push({ target: match[1]!, line: index + 1 });
			}
		}
	}
	if (fence) throw new Error(`${name}:${fence.block.line}: this block of code does not end.`);
	return page;
}

/** Everything that people read: README.md, the files beside it, and everything in docs/. */
export function readPages(): Page[] {
	const top = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'llms.txt'];
	const docs = readdirSync(`${ROOT}docs`, { recursive: true, encoding: 'utf8' })
		.filter((name) => name.endsWith('.md'))
		.sort();
	return [...top, ...docs.map((name) => `docs/${name}`)]
		.filter((name) => existsSync(ROOT + name))
		.map((name) => readPage(name));
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchors({ headings, text }: Page): Set<string> {
	const found = new Set([...text.matchAll(/\b(?:id|name)="([^"]+)"/g)].map(([, id]) => id!));
	for (const heading of headings) {
		const slug = heading
			.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
			.toLowerCase()
			.replace(/[^\p{L}\p{N}\s_-]/gu, '')
			.trim()
			.replace(/\s/g, '-');
		let anchor = slug;
		for (let count = 1; found.has(anchor); count++) anchor = `${slug}-${count}`;
		found.add(anchor);
	}
	return found;
}
