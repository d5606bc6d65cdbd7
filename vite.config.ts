import { sveltekit } from '@sveltejs/kit/vite';
import { playwright } from '@vitest/browser-playwright';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { inngestDev } from './src/lib/dev/vite.js';
import { BROWSER } from './tests/support/browser.js';
import { LongFirst } from './tests/support/longFirst.js';

const withBrowser = process.env.CI === 'true' || existsSync(BROWSER.executablePath);

const cores = availableParallelism();
/** Most tests in Node wait most of the time, so that there may be more of them than cores. */
const waiting = { maxWorkers: Math.max(4, cores), sequence: { groupOrder: 0 } };
/** Browsers work most of the time. These run after the others, which they would slow down. */
const browsing = { maxWorkers: Math.max(2, cores), sequence: { groupOrder: 1 } };

/** A Vitest project that runs in Node. */
const node = (name: string, more: object = waiting) => ({
	extends: true as const,
	test: {
		name,
		environment: 'node' as const,
		include: [`tests/${name}/**/*.test.ts`],
		// When a process dies, its file fails; a thread that dies takes Vitest with it.
		pool: 'forks' as const,
		// Machines do other things as well, and hooks start servers and browsers.
		testTimeout: 60_000,
		hookTimeout: 120_000,
		// It imports its own files without their extensions, which only a bundler takes.
		server: { deps: { inline: ['sveltekit-sse'] } },
		...more
	}
});

export default defineConfig({
	plugins: [inngestDev(), sveltekit()],
	test: {
		// What a test waits for takes longer where other programs run as well.
		expect: { poll: { timeout: 20_000 } },
		sequence: { sequencer: LongFirst },
		projects: [
			node('unit'),
			node('integration'),
			node('ssr'),
			node('docs'),
			{
				...node('jsdom'),
				// Svelte for browsers, in Node.
				resolve: { conditions: ['browser'] }
			},
			{
				extends: true,
				test: {
					name: 'types',
					include: [],
					typecheck: {
						enabled: true,
						only: true,
						include: ['tests/types/**/*.test-d.ts'],
						tsconfig: 'tests/types/tsconfig.json'
					}
				}
			},
			...(withBrowser
				? [
						{
							extends: true as const,
							test: {
								name: 'component',
								...browsing,
								include: ['tests/component/**/*.svelte.test.ts'],
								testTimeout: 60_000,
								browser: {
									enabled: true,
									headless: true,
									screenshotFailures: false,
									provider: playwright({ launchOptions: BROWSER }),
									instances: [{ browser: 'chromium' as const }]
								}
							}
						},
						node('e2e', { globalSetup: ['tests/e2e/support/build.ts'], ...browsing })
					]
				: [])
		]
	}
});
