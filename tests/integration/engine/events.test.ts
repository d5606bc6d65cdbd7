import { afterAll, beforeAll, expect, it } from 'vitest';
import { openEngine, sendEvents, unique } from './support/engine.js';
import type { TestEngine } from './support/engine.js';

const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

let engine: TestEngine;
beforeAll(async () => {
	engine = await openEngine();
});
afterAll(() => engine.close());

it('answers one id for an event, and as many for a list', async () => {
	const name = unique('app/event');
	const one = await sendEvents(engine, JSON.stringify({ name, data: { a: 1 } }));
	expect(one).toEqual({ status: 200, ids: [expect.stringMatching(ULID)] });
	const three = await sendEvents(engine, JSON.stringify([{ name }, { name }, { name }]));
	expect(three.status).toBe(200);
	expect(new Set(three.ids.filter((id) => ULID.test(id))).size).toBe(3);
});

it('gives the same ids to a request that is sent again', async () => {
	const send = async (): Promise<unknown> => {
		const response = await fetch(`${engine.url}/e/test`, {
			method: 'POST',
			body: JSON.stringify([{ name: 'app/event' }, { name: 'app/event' }]),
			headers: { 'x-inngest-event-id-seed': '1743130137367,eii2YKXRVTJPuA==' }
		});
		return response.json();
	};
	const first = await send();
	const id: unknown = expect.stringMatching(/^01JQ/);
	expect(first).toEqual({ status: 200, ids: [id, id] });
	expect(await send()).toEqual(first);
});

it('answers 400 to what is no event, and says why', async () => {
	const bad = [
		'nonsense',
		'5',
		'[1]',
		'[null]',
		'{}',
		'{"name":""}',
		'{"name":5}',
		'{"name":"a","data":"text"}',
		'{"name":"a","data":[]}',
		'{"name":"a","ts":"now"}',
		'{"name":"a","ts":1.5}',
		'{"name":"a","ts":1}',
		'{"name":"a","ts":99999999999999}',
		'{"name":"inngest/function.failed"}',
		'{"name":"a"} and more'
	];
	for (const body of bad) {
		const answer = await sendEvents(engine, body);
		expect(answer, body).toMatchObject({ status: 400, error: expect.stringMatching(/.+/) });
	}
});

it('takes no event of more than 3 MiB', async () => {
	const answer = await sendEvents(
		engine,
		JSON.stringify({ name: 'a', data: { text: 'x'.repeat(3 * 1024 * 1024) } })
	);
	expect(answer).toMatchObject({
		status: 400,
		error: expect.stringContaining('over the max size')
	});
});

it('answers to health checks', async () => {
	const response = await fetch(`${engine.url}/health`);
	expect(await response.json()).toEqual({ status: 200, message: 'OK' });
});

it('says that it is a dev server', async () => {
	const response = await fetch(`${engine.url}/dev`);
	expect(response.headers.get('x-inngest-server-kind')).toBe('dev');
	expect(await response.json()).toMatchObject({
		version: expect.any(String),
		functions: expect.any(Array),
		startOpts: expect.any(Object)
	});
});

it('refuses a registration that it cannot read', async () => {
	const register = (body: string, headers: Record<string, string> = {}): Promise<Response> =>
		fetch(`${engine.url}/fn/register`, { method: 'POST', body, headers });
	expect((await register('nonsense')).status).toBe(400);
	expect((await register('{"functions":[]}')).status).toBe(400);
	expect((await register('{"appName":"a","sdk":"js:v3.40.0","functions":[]}')).status).toBe(400);
	const valid = JSON.stringify({ url: 'http://localhost:9/api/inngest', appName: unique('app') });
	const cloud = await register(valid, { 'x-inngest-expected-server-kind': 'cloud' });
	expect(cloud.status).toBe(400);
	const invalid = JSON.stringify({
		url: 'http://localhost:9/api/inngest',
		appName: unique('app'),
		functions: [{ id: 'a', name: 'a', triggers: [{ event: 'a' }], steps: {} }]
	});
	expect((await register(invalid)).status).toBe(400);
});
