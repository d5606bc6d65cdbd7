import { existsSync, readFileSync } from 'node:fs';
import { createRequire, SourceMap } from 'node:module';
import ts from 'typescript';
import { ROOT, type Block } from './markdown.js';
import { Project, type SourceFile } from './project.js';
import { APP, COMMON, ENV, SURROUNDINGS, TYPES } from './surroundings.js';

// Node loads these itself. Vite would treat them as component libraries and transform them.
const require = createRequire(import.meta.url);
const { svelte2tsx } = require('svelte2tsx') as typeof import('svelte2tsx');
const {
	compile: compileSvelte,
	parse,
	VERSION
} = require('svelte/compiler') as typeof import('svelte/compiler');

/** Entries of this package, as an app imports them, and their sources. */
const ENTRIES: Record<string, string> = Object.fromEntries(
	Object.entries(
		JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')).exports as Record<
			string,
			{ default: string } | string
		>
	).flatMap(([key, target]) =>
		typeof target === 'string'
			? []
			: [
					[
						key.replace(/^\./, 'sveltekit-inngest'),
						target.default.replace('./dist/', `${ROOT}src/lib/`).replace(/\.js$/, '.ts')
					]
				]
	)
);

const OPTIONS: ts.CompilerOptions = {
	strict: true,
	noUncheckedIndexedAccess: true,
	verbatimModuleSyntax: true,
	isolatedModules: true,
	allowJs: true,
	checkJs: true,
	skipLibCheck: true,
	noEmit: true,
	jsx: ts.JsxEmit.Preserve,
	target: ts.ScriptTarget.ESNext,
	module: ts.ModuleKind.ESNext,
	moduleResolution: ts.ModuleResolutionKind.Bundler,
	lib: ['lib.esnext.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts'],
	types: ['node', '@sveltejs/kit']
};

const SHIMS = ['svelte-shims-v4.d.ts', 'svelte-jsx-v4.d.ts'].map(
	(name) => `${ROOT}node_modules/svelte2tsx/${name}`
);

/** Languages whose blocks are compiled. */
export const COMPILED = new Set(['ts', 'typescript', 'js', 'javascript', 'svelte']);

/** Compiles blocks strictly. @returns the problems of each block, with their lines in the page. */
export function compileBlocks(blocks: readonly Block[]): Map<Block, string[]> {
	const project = new Project([...blocks, ...COMMON]);
	const components = new Map<string, SourceMap>();
	const host = createHost(project, components);
	// An app has one `app.d.ts`. If no page shows one, a common one is used.
	const hasApp = blocks.some(({ file }) => file === 'src/app.d.ts');
	const program = ts.createProgram({
		rootNames: [...project.files.map(compiledPath), ...SHIMS, ENV, ...(hasApp ? [] : [APP])],
		options: OPTIONS,
		host
	});
	return new Map(
		project.files.map((file) => {
			const source = program.getSourceFile(compiledPath(file))!;
			const diagnostics = [
				...program.getSyntacticDiagnostics(source),
				...program.getSemanticDiagnostics(source)
			];
			const wrong = diagnostics.flatMap((one) =>
				describe(file, one, components.get(source.fileName))
			);
			return [file.block, [...wrong, ...(isSvelte(file) ? svelteProblems(file) : [])]];
		})
	);
}

const isInngest4 = (specifier: string, reader: SourceFile | undefined): boolean =>
	reader?.block.generation === 4 && /^inngest(\/|$)/.test(specifier);

const isSvelte = ({ path }: SourceFile): boolean => path.endsWith('.svelte');

/** A component is compiled from the output of svelte2tsx. A declaration file is checked like any code. */
function compiledPath(file: SourceFile): string {
	return isSvelte(file) ? `${file.path}.tsx` : file.path.replace(/\.d\.ts$/, '.ts');
}

function createHost(project: Project, components: Map<string, SourceMap>): ts.CompilerHost {
	const host = ts.createCompilerHost(OPTIONS);
	const cache = ts.createModuleResolutionCache(ROOT, (path) => path, OPTIONS);
	const read = (path: string): string | undefined => {
		const file = project.get(path) ?? project.get(path.replace(/\.ts$/, '.d.ts'));
		return file?.text ?? SURROUNDINGS[path] ?? host.readFile(path);
	};
	const readAny = (path: string): string | undefined => {
		if (!path.endsWith('.svelte.tsx')) return read(path);
		const source = path.slice(0, -'.tsx'.length);
		const text = read(source)!;
		const isTsFile = /<script[^>]*lang="ts"/.test(text);
		const options = { filename: source, isTsFile, mode: 'ts', version: VERSION, parse } as const;
		const { code, map } = svelte2tsx(text, options);
		components.set(path, new SourceMap({ ...map, sourceRoot: '' } as never));
		return code;
	};
	const resolved = (fileName: string): ts.ResolvedModuleWithFailedLookupLocations => ({
		resolvedModule: { resolvedFileName: fileName, extension: /\.[jt]sx?$/.exec(fileName)![0] }
	});
	return {
		...host,
		jsDocParsingMode: ts.JSDocParsingMode.ParseForTypeErrors,
		readFile: readAny,
		fileExists: (path) => read(path.replace(/\.svelte\.tsx$/, '.svelte')) !== undefined,
		getSourceFile: (path, options) => {
			const text = readAny(path);
			return text === undefined ? undefined : ts.createSourceFile(path, text, options);
		},
		resolveModuleNameLiterals: (literals, from, _redirected, options) =>
			literals.map(({ text }) => {
				const shown = project.resolve(text, from);
				if (shown) return resolved(compiledPath(shown));
				// Both generations are installed, the newer one by another name.
				const reader = project.get(from.replace(/\.svelte\.tsx$/, '.svelte'));
				if (text === 'inngest/realtime' || isInngest4(text, reader)) {
					const name = text.replace('inngest', 'inngest4');
					return ts.resolveModuleName(name, from, options, host, cache);
				}
				const entry = ENTRIES[text];
				if (entry) return resolved(entry);
				if (/^\.\/\$types(\.js)?$/.test(text)) return resolved(TYPES);
				if (text.startsWith('.') && text.endsWith('.svelte')) {
					const path = new URL(text, `file://${from}`).pathname;
					return existsSync(path) ? resolved(`${path}.tsx`) : { resolvedModule: undefined };
				}
				return ts.resolveModuleName(text, from, options, host, cache);
			})
	};
}

function describe(
	file: SourceFile,
	diagnostic: ts.Diagnostic,
	map: SourceMap | undefined
): string[] {
	const { start = 0, file: source, messageText } = diagnostic;
	const text = ts.flattenDiagnosticMessageText(messageText, '\n');
	const { line, character } = source!.getLineAndCharacterOfPosition(start);
	if (!map) return [at(file, line, text)];
	// svelte2tsx marks the code that it adds. Problems there are not the author's.
	const before = source!.text.slice(0, start);
	if (before.lastIndexOf('Ωignore_startΩ') > before.lastIndexOf('Ωignore_endΩ')) return [];
	const { originalLine } = map.findEntry(line, character) as { originalLine?: number };
	return originalLine === undefined ? [] : [at(file, originalLine, text)];
}

/** Errors and warnings of Svelte's own compiler. Code that people copy must have none. */
function svelteProblems(file: SourceFile): string[] {
	try {
		const { warnings } = compileSvelte(file.text, { generate: false, filename: file.path });
		return warnings.map(({ message, start }) => at(file, (start?.line ?? 1) - 1, message));
	} catch (error) {
		const { message, start } = error as Error & { start?: { line: number } };
		return [at(file, (start?.line ?? 1) - 1, message)];
	}
}

function at({ block }: SourceFile, line: number, text: string): string {
	return `${block.page}:${block.line + line}: ${text}`;
}
