import { base } from '$app/paths';
import { Marked } from 'marked';
import { posix } from 'node:path';
import { codeToHtml } from 'shiki';
import { locate, type DocsPage } from './pages.js';

const THEMES = { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' } as const;
const LANGUAGES = new Set(['ts', 'js', 'svelte', 'json', 'bash', 'yaml', 'nginx', 'sql', 'html']);

/** The anchor of a heading, as GitHub makes it. */
function anchorOf(text: string, used: Set<string>): string {
	const slug = text
		.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
		.toLowerCase()
		.replace(/[^\p{L}\p{N}\s_-]/gu, '')
		.trim()
		.replace(/\s/g, '-');
	let anchor = slug;
	for (let count = 1; used.has(anchor); count++) anchor = `${slug}-${count}`;
	used.add(anchor);
	return anchor;
}

/** Where a link of a page leads in the site. */
function hrefOf({ file }: DocsPage, href: string): string | undefined {
	if (/^(https?:|mailto:|#)/.test(href)) return href;
	const [path = '', anchor] = href.split('#');
	const target = posix.join(posix.dirname(file), path);
	const found = locate(target) ?? locate(posix.join(target, 'README.md'));
	if (found === undefined) return undefined;
	const place = found.startsWith('/') ? found : `${base}/${found}${found && '/'}`;
	return place + (anchor ? `#${anchor}` : '');
}

/** A heading that a page's table of contents lists. */
export interface Heading {
	id: string;
	/** 2, or 3 below it. */
	depth: number;
	/** HTML without links. */
	html: string;
}

/** A page as HTML, with highlighted code. @returns the HTML, and the headings of its sections. */
export async function render(page: DocsPage): Promise<{ html: string; headings: Heading[] }> {
	const used = new Set<string>();
	const headings: Heading[] = [];
	const highlighted = new Map<string, string>();
	const marked = new Marked({
		async: true,
		async walkTokens(token) {
			if (token.type !== 'code') return;
			const lang = LANGUAGES.has(token.lang) ? token.lang : 'text';
			const html = await codeToHtml(token.text, { lang, themes: THEMES, defaultColor: false });
			highlighted.set(`${token.lang}\n${token.text}`, html);
		},
		renderer: {
			heading({ tokens, depth, text }) {
				const id = anchorOf(text, used);
				const inside = this.parser.parseInline(tokens);
				if (depth === 2 || depth === 3)
					headings.push({ id, depth, html: inside.replace(/<\/?a\b[^>]*>/g, '') });
				return `<h${depth} id="${id}"><a class="anchor" href="#${id}">${inside}</a></h${depth}>\n`;
			},
			code: ({ lang, text }) => highlighted.get(`${lang}\n${text}`)!,
			link({ href, tokens }) {
				const inside = this.parser.parseInline(tokens);
				const to = hrefOf(page, href);
				return to === undefined ? inside : `<a href="${to}">${inside}</a>`;
			},
			image: ({ href, text }) =>
				`<img src="${hrefOf(page, href) ?? ''}" alt="${text.replaceAll('"', '&quot;')}" loading="lazy" />`
		}
	});
	const parsed = await marked.parse(page.text);
	// Wide tables scroll by themselves.
	const html = parsed
		.replaceAll('<th></th>', '<td></td>')
		.replaceAll(
			'<table>',
			'<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>'
		)
		.replaceAll('</table>', '</table></div>');
	return { html, headings };
}
