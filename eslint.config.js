import js from '@eslint/js';
import prettier from 'eslint-config-prettier';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';
import svelteConfig from './svelte.config.js';

export default ts.config(
	{ ignores: ['**/.svelte-kit/', '**/build/', '**/dist/', 'node_modules/'] },
	js.configs.recommended,
	...ts.configs.recommended,
	...svelte.configs.recommended,
	prettier,
	...svelte.configs.prettier,
	{
		languageOptions: { globals: { ...globals.browser, ...globals.node } },
		rules: {
			'no-undef': 'off',
			'@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
			'@typescript-eslint/ban-ts-comment': ['error', { 'ts-ignore': 'allow-with-description' }],
			'@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }]
		}
	},
	{
		files: ['**/*.svelte', '**/*.svelte.ts'],
		languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } }
	},
	{
		// Rooms: a module imports only from its own room and from protocol/.
		files: ['src/lib/client/**', 'src/lib/protocol/**'],
		rules: {
			'no-restricted-imports': [
				'error',
				{ patterns: ['**/server/**', '**/dev/**', 'node:*', 'ws', 'zod'] }
			]
		}
	},
	{
		files: ['src/lib/server/**', 'src/lib/redis/**', 'src/lib/postgres/**'],
		rules: {
			'no-restricted-imports': [
				'error',
				{ patterns: ['**/client/**', '**/dev/**', 'svelte', 'svelte/*'] }
			]
		}
	},
	{
		// A type test declares values for their types alone.
		files: ['tests/types/**'],
		rules: { '@typescript-eslint/no-unused-vars': 'off' }
	},
	{
		files: ['src/routes/**', 'src/demo/**', 'docs-site/**'],
		rules: { 'svelte/no-navigation-without-resolve': 'off' }
	}
);
