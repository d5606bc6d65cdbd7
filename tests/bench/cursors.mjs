// How smooth a page is while twenty people move their cursors, in Chromium, on the demo's production build.
import { runnerImport } from 'vite';
import { fileURLToPath } from 'node:url';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 8);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Frames of the screen and long tasks of a page, for some seconds. */
function observe(page) {
	return page.evaluate(
		(ms) =>
			new Promise((resolve) => {
				const waits = [];
				const tasks = [];
				const observer = new PerformanceObserver((list) => {
					for (const { duration } of list.getEntries()) tasks.push(duration);
				});
				observer.observe({ entryTypes: ['longtask'] });
				const startedAt = performance.now();
				let last = startedAt;
				requestAnimationFrame(function frame(now) {
					waits.push(now - last);
					last = now;
					if (now - startedAt < ms) return void requestAnimationFrame(frame);
					observer.disconnect();
					waits.sort((a, b) => a - b);
					resolve({
						perSecond: (waits.length * 1_000) / (now - startedAt),
						p99: waits[Math.floor(waits.length * 0.99)],
						longTasks: tasks.length,
						longestMs: Math.max(0, ...tasks)
					});
				});
			}),
		SECONDS * 1_000
	);
}

/** Prints a quiet page beside one with twenty moving cursors. */
export async function measureCursors() {
	const { module } = await runnerImport(here('../e2e/support/app.ts'));
	const app = await module.startApp();
	try {
		const { page } = await app.visit('/board');
		const rows = [['nobody else', await observe(page)]];
		await page.getByRole('button', { name: 'Add 20 people' }).click();
		await page.getByRole('heading', { name: '21 here' }).waitFor();
		await page.waitForTimeout(1_000);
		rows.push(['20 people, 30 updates/s each', await observe(page)]);
		console.log('\n## Live cursors in Chromium\n');
		console.log('| page | frames/s | p99 ms between frames | long tasks | longest ms |');
		console.log('| --- | --- | --- | --- | --- |');
		for (const [name, { perSecond, p99, longTasks, longestMs }] of rows) {
			const cells = [name, perSecond.toFixed(0), p99.toFixed(1), longTasks, longestMs.toFixed(0)];
			console.log(`| ${cells.join(' | ')} |`);
		}
	} finally {
		await app.close();
	}
}
