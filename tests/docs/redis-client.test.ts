import { EventEmitter } from 'node:events';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { readPage } from './support/markdown.js';

/** A Redis client whose server never answers. */
class SilentRedis extends EventEmitter {
	calls: string[] = [];
	connect(): Promise<never> {
		this.calls.push('connect');
		return new Promise(() => {});
	}
	destroy(): void {
		this.calls.push('destroy');
	}
}

/** Runs the `redis.ts` that docs/deployment.md shows. It has to be done when this returns. */
function load(building: boolean): { redis: SilentRedis; process: EventEmitter } {
	const { blocks } = readPage('docs/deployment.md');
	const { text } = blocks.find(({ file }) => file?.endsWith('/redis.ts'))!;
	const code = ts.transpile(text, {
		module: ts.ModuleKind.CommonJS,
		target: ts.ScriptTarget.ES2020
	});
	const redis = new SilentRedis();
	const process = new EventEmitter();
	const modules: Record<string, unknown> = {
		redis: { createClient: () => redis },
		'$app/environment': { building },
		'$env/dynamic/private': { env: {} }
	};
	const run = new Function('require', 'exports', 'process', code);
	run((name: string) => modules[name], {}, process);
	return { redis, process };
}

test('a build that loads the documented Redis client does not connect', () => {
	const { redis, process } = load(true);
	expect(redis.calls).toEqual([]);
	expect(process.eventNames()).toEqual([]);
});

test('an app that loads it does not wait for Redis, and closes it on shutdown', () => {
	const { redis, process } = load(false);
	expect(redis.calls).toEqual(['connect']);
	process.emit('sveltekit:shutdown', 'SIGTERM');
	expect(redis.calls).toEqual(['connect', 'destroy']);
});

test('an error of the client does not end the process', () => {
	expect(load(false).redis.listenerCount('error')).toBe(1);
});
