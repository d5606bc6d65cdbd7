/** The Markdown files of the repository, as pages. */
const texts = import.meta.glob<string>(
	['../../../README.md', '../../../CHANGELOG.md', '../../../SECURITY.md', '../../../docs/**/*.md'],
	{ query: '?raw', import: 'default', eager: true }
);

/** Other files that pages link to. */
const files = import.meta.glob<string>('../../../docs/*.{webp,svg,json}', {
	query: '?url',
	import: 'default',
	eager: true
});

export interface DocsPage {
	/** Path in the repository, such as `docs/guides/read.md`. */
	file: string;
	/** Path in the site, such as `guides/read`; empty for the first page. */
	slug: string;
	title: string;
	text: string;
}

const inRepository = (path: string): string => path.replace('../../../', '');

const slugOf = (file: string): string =>
	file
		.replace(/^docs\//, '')
		.replace(/(^|\/)README\.md$/, '')
		.replace('CHANGELOG.md', 'changelog')
		.replace('SECURITY.md', 'reporting')
		.replace(/\.md$/, '');

export const pages: DocsPage[] = Object.entries(texts).map(([path, text]) => {
	const file = inRepository(path);
	const title = /^# (.*)$/m.exec(text)?.[1] ?? file;
	return { file, slug: slugOf(file), title: title.replaceAll('`', ''), text };
});

/** Where a file of the repository is in the site, if it is there. */
export function locate(file: string): string | undefined {
	return (
		pages.find((page) => page.file === file)?.slug ??
		Object.entries(files).find(([path]) => inRepository(path) === file)?.[1]
	);
}

/** What the navigation lists. */
export const groups: { title: string; pages: { slug: string; title: string }[] }[] = [
	{ title: 'Start', isIn: (slug: string) => slug === '' },
	{ title: 'Guides', isIn: (slug: string) => slug.startsWith('guides/') },
	{ title: 'Reference', isIn: (slug: string) => slug.startsWith('reference') },
	{ title: 'About', isIn: (slug: string) => /^(?!guides\/|reference|$)/.test(slug) }
].map(({ title, isIn }) => ({
	title,
	pages: pages
		.filter(({ slug }) => isIn(slug))
		.map(({ slug, title }) => ({ slug, title: slug === '' ? 'Overview' : title }))
		.sort((a, b) => a.title.localeCompare(b.title))
}));
