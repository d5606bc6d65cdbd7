/**
 * Sums up reports of Vitest: `node scripts/test-counts.mjs report.json …`. Names each file that failed as a
 * whole or did not finish, because its process died. The last line is `N passed, N failed`, unless a report
 * is missing: then Vitest itself ended too early.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

let passed = 0;
let failed = 0;

for (const path of process.argv.slice(2)) {
	const report = read(path);
	if (!report) {
		console.log(
			'Vitest ended before it wrote its report, so nothing was counted. See what it printed last.'
		);
		process.exit(1);
	}
	passed += report.numPassedTests;
	failed += report.numFailedTests;
	for (const { name, status, message, assertionResults } of report.testResults) {
		const file = relative('.', name);
		const open = assertionResults.filter(({ status }) => status === 'pending');
		if (status === 'failed' && message) console.log(`${file} failed: ${message}`);
		if (open.length > 0)
			console.log(`${file} did not finish: ${open.length} tests have no result.`);
	}
}

console.log(`${passed} passed, ${failed} failed`);

/** @param {string} path */
function read(path) {
	try {
		return JSON.parse(readFileSync(path, 'utf8'));
	} catch {
		return undefined;
	}
}
