import type { Page } from 'playwright';
import { expect } from 'vitest';

/** What the page “Break it” counts. */
export type Count =
	| 'Sent'
	| 'Received'
	| 'Replayed'
	| 'Announced gaps'
	| 'Lost in gaps'
	| 'Lost silently'
	| 'Repeated';

/** A page of any browser, under any driver. */
export interface AnyPage {
	/** What a JavaScript expression is on the page. */
	evaluate<T>(expression: string): Promise<T>;
}

export async function count(page: AnyPage, label: Count): Promise<number> {
	const [text] = await page.evaluate<string[]>(
		`[...document.querySelectorAll('dl > div')]
			.filter((one) => one.querySelector('dt').innerText.trim() === '${label}')
			.map((one) => one.querySelector('dd').innerText)`
	);
	return Number(text);
}

/** Waits until a counter has grown by more than `by`. */
export async function grows(page: AnyPage, label: Count, by: number): Promise<void> {
	const before = await count(page, label);
	await expect.poll(() => count(page, label), { timeout: 20_000 }).toBeGreaterThan(before + by);
}

/** A number of the page “Server stats”, as it is written there. */
export function stat(page: Page, name: string): Promise<string> {
	const row = page.locator('.stats > div').filter({ has: page.getByText(name, { exact: true }) });
	return row.locator('dd').innerText();
}
