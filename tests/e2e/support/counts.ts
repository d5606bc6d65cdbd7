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

export async function count(page: Page, label: Count): Promise<number> {
	const group = page.locator('dl > div').filter({ has: page.getByText(label, { exact: true }) });
	return Number(await group.locator('dd').innerText());
}

/** Waits until a counter has grown by more than `by`. */
export async function grows(page: Page, label: Count, by: number): Promise<void> {
	const before = await count(page, label);
	await expect.poll(() => count(page, label), { timeout: 20_000 }).toBeGreaterThan(before + by);
}

/** A number of the page “Server stats”, as it is written there. */
export function stat(page: Page, name: string): Promise<string> {
	const row = page.locator('.stats > div').filter({ has: page.getByText(name, { exact: true }) });
	return row.locator('dd').innerText();
}
