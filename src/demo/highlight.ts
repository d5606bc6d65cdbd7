/** A piece of code and its kind, which decides its colour. */
export interface Token {
	text: string;
	kind: 'plain' | 'comment' | 'string' | 'keyword' | 'tag';
}

const KEYWORDS =
	'as|async|await|break|case|catch|class|const|continue|default|do|else|export|extends|finally|for|from|function|if|import|in|instanceof|interface|let|new|null|of|return|satisfies|switch|this|throw|true|false|try|type|typeof|undefined|while|yield';

const TOKEN = new RegExp(
	[
		String.raw`(?<comment>\/\*[\s\S]*?\*\/|<!--[\s\S]*?-->|(?<![:'"\w])\/\/[^\n]*)`,
		String.raw`(?<string>'(?:[^'\\\n]|\\.)*'|"[^"\n]*"|` + '`[^`]*`)',
		String.raw`(?<tag><\/?[A-Za-z][\w:.-]*|\/?>(?=\s*\n)|\{[#:/@][a-z]+)`,
		String.raw`(?<keyword>(?<![\w$.-])(?:${KEYWORDS})(?![\w$-]))`
	].join('|'),
	'g'
);

/** Cuts TypeScript or Svelte code into tokens. Good enough for colours, but not a parser. */
export function highlight(code: string): Token[] {
	const tokens: Token[] = [];
	let at = 0;
	for (const match of code.matchAll(TOKEN)) {
		if (match.index > at) tokens.push({ text: code.slice(at, match.index), kind: 'plain' });
		const [kind] = Object.entries(match.groups ?? {}).find(([, text]) => text !== undefined)!;
		tokens.push({ text: match[0], kind: kind as Token['kind'] });
		at = match.index + match[0].length;
	}
	if (at < code.length) tokens.push({ text: code.slice(at), kind: 'plain' });
	return tokens;
}
