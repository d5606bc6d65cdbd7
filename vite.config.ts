import { sveltekit } from '@sveltejs/kit/vite';
import { playwright } from '@vitest/browser-playwright';
import { existsSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { inngestDev } from './src/lib/dev/vite.js';

const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const launchOptions = {
	executablePath: CHROMIUM,
	args: [
		'--no-sandbox',
		'--disable-gpu',
		'--disable-background-networking',
		'--disable-component-update',
		'--disable-sync',
		'--no-first-run'
	]
};
const withBrowser = process.env.CI === 'true' || existsSync(CHROMIUM);

/** A Vitest project that runs in Node. */
const node = (name: string, testTimeout = 30_000) => ({
	extends: true as const,
	test: { name, environment: 'node' as const, include: [`tests/${name}/**/*.test.ts`], testTimeout }
});

export default defineConfig({
	plugins: [inngestDev(), sveltekit()],
	test: {
		projects: [
			node('unit'),
			node('integration'),
			node('ssr'),
			node('docs', 60_000),
			{
				extends: true,
				test: {
					name: 'types',
					include: [],
					typecheck: { enabled: true, only: true, include: ['tests/types/**/*.test-d.ts'] }
				}
			},
			...(withBrowser
				? [
						{
							extends: true as const,
							test: {
								name: 'component',
								include: ['tests/component/**/*.svelte.test.ts'],
								testTimeout: 60_000,
								browser: {
									enabled: true,
									headless: true,
									screenshotFailures: false,
									provider: playwright({ launchOptions }),
									instances: [{ browser: 'chromium' as const }]
								}
							}
						},
						node('e2e', 60_000)
					]
				: [])
		]
	}
});
