import { chromium, type Browser, type LaunchOptions } from 'playwright';

/** The system's Chromium, and how it is started everywhere in these tests. */
export const BROWSER = {
	executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
	args: [
		'--no-sandbox',
		'--disable-gpu',
		'--disable-background-networking',
		'--disable-component-update',
		'--disable-sync',
		'--no-first-run'
	]
};

/** Headless Chromium. Closed by its user. */
export function launchBrowser(options?: LaunchOptions): Promise<Browser> {
	return chromium.launch({ ...BROWSER, ...options });
}
