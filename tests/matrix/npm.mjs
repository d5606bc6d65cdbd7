import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';

/** npm's own script, to be run by the Node of one's choice. */
const cli =
	process.env.npm_execpath ??
	realpathSync(execFileSync('which', ['npm'], { encoding: 'utf8' }).trim());

/** Arguments for Node that run an npm command: the cache first, and no flag that forces anything. */
export function npm(...args) {
	return [cli, ...args, '--prefer-offline', '--no-audit', '--no-fund', '--no-update-notifier'];
}
