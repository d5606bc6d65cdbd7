import { DEV_ENV_ID, parseUlid } from '../ids.js';
import type { Topic } from './message.js';

const NIL_UUID = '00000000-0000-0000-0000-000000000000';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** @returns the list of topics in a JSON value, or `undefined` if it is not one. */
export function readTopics(value: unknown): Topic[] | null | undefined {
	if (value === null) return null;
	if (!Array.isArray(value)) return undefined;
	const topics: Topic[] = [];
	for (const item of value) {
		const topic = readTopic(item);
		if (!topic) return undefined;
		topics.push(topic);
	}
	return topics;
}

/** The same topics in the environment of the dev server, which is the only one. */
export function inDevEnv(topics: Topic[]): Topic[] {
	return topics.map((topic) => ({ ...topic, env_id: DEV_ENV_ID }));
}

function readTopic(value: unknown): Topic | undefined {
	if (value !== null && (typeof value !== 'object' || Array.isArray(value))) return undefined;
	const { kind, env_id, run_id, channel, name } = (value ?? {}) as Record<string, unknown>;
	for (const field of [kind, env_id, run_id, channel, name]) {
		if (field !== undefined && field !== null && typeof field !== 'string') return undefined;
	}
	if (typeof env_id === 'string' && !UUID.test(env_id)) return undefined;
	const run = typeof run_id === 'string' ? parseUlid(run_id) : undefined;
	return {
		kind: (kind as string | null) ?? '',
		env_id: ((env_id as string | null) ?? NIL_UUID).toLowerCase(),
		...(run ? { run_id: run } : {}),
		channel: (channel as string | null) ?? '',
		name: (name as string | null) ?? ''
	};
}
