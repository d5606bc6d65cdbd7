import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { startApp, type DemoApp, type Visitor } from './app.js';

/**
 * Runs the demo for all tests of a file. Closes the visitors' pages after each test, and fails the test
 * if one of the pages had a problem.
 */
export function useApp(): Readonly<Omit<DemoApp, 'close'>> {
	let app: DemoApp | undefined;
	const visitors: Visitor[] = [];
	beforeAll(async () => {
		app = await startApp();
	}, 120_000);
	afterAll(() => app?.close());
	afterEach(async () => {
		const problems = visitors.flatMap(({ problems }) => problems);
		for (const { page } of visitors.splice(0)) await page.context().close();
		expect(problems).toEqual([]);
	});
	return {
		get engine() {
			return app!.engine;
		},
		get url() {
			return app!.url;
		},
		cut: () => app!.cut(),
		restart: () => app!.restart(),
		async visit(path, options) {
			const visitor = await app!.visit(path, options);
			visitors.push(visitor);
			return visitor;
		}
	};
}
