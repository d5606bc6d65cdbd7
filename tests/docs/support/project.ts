import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import ts from 'typescript';
import { ROOT, type Block } from './markdown.js';

/** A block of code as a file of an app. */
export interface SourceFile {
	block: Block;
	/** Its path, for the compiler. No such file exists. */
	path: string;
	/** Its code, as many lines as the block has. */
	text: string;
}

const SCRIPT = /<script\b[^>]*>([\s\S]*?)<\/script>/g;

/** What readers know without an import. */
const KNOWN: Record<string, string> = {
	Inngest: `import { Inngest } from 'inngest';`,
	z: `import { z } from 'zod';`,
	...entryImports('sveltekit-inngest/server', 'src/lib/server/index.ts'),
	...entryImports('sveltekit-inngest', 'src/lib/client/index.ts')
};

/**
 * Blocks of code as the files of apps, with one app per page. A block that names a file is that file for
 * everything below it on the page, until another block names the same file. A block without a name is a
 * fragment: names that it uses without importing them come from other blocks of its page, from the README,
 * or from this package.
 */
export class Project {
	readonly files: SourceFile[] = [];
	readonly #byPath = new Map<string, SourceFile>();

	constructor(blocks: readonly Block[]) {
		const named = blocks.filter(({ file }) => file !== undefined);
		for (const [index, block] of blocks.entries()) {
			const name = block.file ?? `src/routes/fragment.${block.lang === 'svelte' ? 'svelte' : 'ts'}`;
			const path = `${ROOT}tests/docs/virtual/${index}/${name}`;
			const text = block.file ? block.text : complete(block, named);
			const file = { block, path, text };
			this.files.push(file);
			this.#byPath.set(path, file);
		}
	}

	get(path: string): SourceFile | undefined {
		return this.#byPath.get(path);
	}

	/** The file that an import in a block refers to, if a block shows it. */
	resolve(specifier: string, from: string): SourceFile | undefined {
		const importer = this.#byPath.get(from.replace(/\.svelte\.tsx$/, '.svelte'));
		if (!importer) return undefined;
		const [, index, name] = /virtual\/(\d+)\/(.*)$/.exec(importer.path) ?? [];
		const target = specifier.startsWith('$lib/')
			? specifier.replace('$lib', 'src/lib')
			: specifier.startsWith('.') && posix.join(posix.dirname(name!), specifier);
		if (!target) return undefined;
		const names = [target, target.replace(/\.js$/, ''), target].flatMap((base) => [
			base,
			`${base}.ts`,
			`${base}/index.ts`
		]);
		const block = newest(
			this.files.map((file) => file.block),
			({ file }) => file !== undefined && names.includes(file),
			this.files[Number(index)]!.block
		);
		return this.files.find((file) => file.block === block);
	}
}

/**
 * The block that a reader of `reader` takes for a file: the last one above it, or else one below it, or else
 * one on another page. Blocks for the same version of inngest come first.
 */
function newest(
	blocks: readonly Block[],
	isMeant: (block: Block) => boolean,
	reader: Block
): Block | undefined {
	const all = blocks.filter(isMeant);
	const variant = all.filter(({ generation }) => generation === reader.generation);
	const meant = variant.length > 0 ? variant : all;
	const here = meant.filter(({ page }) => page === reader.page);
	return (
		here.findLast(({ line }) => line < reader.line) ??
		here[0] ??
		meant.findLast(({ page }) => page === 'README.md') ??
		meant[0]
	);
}

/** A fragment, with the imports that it leaves out added to its first line. */
function complete(block: Block, named: readonly Block[]): string {
	const isSvelte = block.lang === 'svelte';
	const scripts = isSvelte
		? [...block.text.matchAll(SCRIPT)].map(([, code]) => code!).join('\n')
		: block.text;
	const declared = declaredNames(scripts);
	const used = new Set(block.text.match(/[\p{L}_$][\p{L}\p{N}_$]*/gu));
	const imports = [...used].flatMap((name) => {
		if (declared.has(name)) return [];
		const provider = newest(named, (other) => exportsName(other, name), block);
		return provider ? [importOf(name, provider)] : (KNOWN[name] ?? []);
	});
	const head = imports.join(' ');
	if (!isSvelte) return head + block.text;
	return scripts
		? block.text.replace(/(<script\b[^>]*>)/, `$1${head}`)
		: `<script lang="ts">${head}</script>${block.text}`;
}

function exportsName({ file, text }: Block, name: string): boolean {
	const component = /([A-Z]\w*)\.svelte$/.exec(file ?? '')?.[1];
	return component ? component === name : exportedNames(text).has(name);
}

function importOf(name: string, { file, text }: Block): string {
	const from = `'$lib/${posix.relative('src/lib', file!)}';`;
	if (file!.endsWith('.svelte')) return `import ${name} from ${from}`;
	return `import { ${exportedNames(text).get(name)}${name} } from ${from}`;
}

const exported = new Map<string, Map<string, string>>();

/** Names that a module exports. The value is `type ` for names that are only types. */
function exportedNames(text: string): Map<string, string> {
	const known = exported.get(text);
	if (known) return known;
	const names = new Map<string, string>();
	exported.set(text, names);
	for (const statement of parse(text).statements) {
		if (!ts.canHaveModifiers(statement) || !isExported(statement)) continue;
		if (ts.isVariableStatement(statement)) {
			for (const { name } of statement.declarationList.declarations) {
				for (const one of boundNames(name)) names.set(one, '');
			}
		} else if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) {
			if (statement.name) names.set(statement.name.text, '');
		} else if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) {
			names.set(statement.name.text, 'type ');
		}
	}
	return names;
}

function isExported(statement: ts.HasModifiers): boolean {
	return !!ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
}

function boundNames(name: ts.BindingName): string[] {
	if (ts.isIdentifier(name)) return [name.text];
	return name.elements.flatMap((one) => (ts.isOmittedExpression(one) ? [] : boundNames(one.name)));
}

/** All names that the code declares anywhere. They need no import. */
function declaredNames(text: string): Set<string> {
	const names = new Set<string>();
	const visit = (node: ts.Node): void => {
		const { name } = node as { name?: ts.Node };
		const declares =
			ts.isVariableDeclaration(node) ||
			ts.isParameter(node) ||
			ts.isBindingElement(node) ||
			ts.isFunctionDeclaration(node) ||
			ts.isClassDeclaration(node) ||
			ts.isInterfaceDeclaration(node) ||
			ts.isTypeAliasDeclaration(node) ||
			ts.isImportSpecifier(node) ||
			ts.isImportClause(node) ||
			ts.isNamespaceImport(node);
		if (declares && name && ts.isIdentifier(name)) names.add(name.text);
		ts.forEachChild(node, visit);
	};
	visit(parse(text));
	return names;
}

/** An import for each name that an entry of this package exports. */
function entryImports(entry: string, path: string): Record<string, string> {
	const imports: Record<string, string> = {};
	for (const statement of parse(readFileSync(ROOT + path, 'utf8')).statements) {
		if (!ts.isExportDeclaration(statement) || !statement.exportClause) continue;
		if (!ts.isNamedExports(statement.exportClause)) continue;
		for (const { name, isTypeOnly } of statement.exportClause.elements) {
			const type = isTypeOnly || statement.isTypeOnly ? 'type ' : '';
			imports[name.text] = `import { ${type}${name.text} } from '${entry}';`;
		}
	}
	return imports;
}

function parse(text: string): ts.SourceFile {
	return ts.createSourceFile('block.ts', text, ts.ScriptTarget.Latest, true);
}
