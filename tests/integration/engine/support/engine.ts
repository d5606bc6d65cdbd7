import { createHmac, randomUUID } from 'node:crypto';
import { startInngestDev } from '../../../../src/lib/dev/index.js';

/** An Inngest server to test: the one at INNGEST_BASE_URL where that is set, else an embedded one. */
export interface TestEngine {
	url: string;
	close(): Promise<void>;
}

export async function openEngine(): Promise<TestEngine> {
	const url = process.env.INNGEST_BASE_URL;
	return url ? { url, close: async () => {} } : await startInngestDev();
}

/** A name that nothing else uses, also not at a server that other tests share. */
export function unique(prefix: string): string {
	return `${prefix}-${randomUUID().slice(0, 8)}`;
}

/** A topic as token requests name it. */
export function topicOf(channel: string, name: string): Record<string, string> {
	return { channel, name, kind: 'run' };
}

export async function fetchToken(engine: TestEngine, topics: unknown): Promise<string> {
	const response = await fetch(`${engine.url}/v1/realtime/token`, {
		method: 'POST',
		body: JSON.stringify(topics)
	});
	const { jwt } = (await response.json()) as { jwt: string };
	return jwt;
}

/** What a token says, unverified. */
export function decodeToken(jwt: string): Record<string, unknown> {
	const body = Buffer.from(jwt.split('.')[1]!, 'base64url').toString();
	return JSON.parse(body) as Record<string, unknown>;
}

/** A token with other claims, signed with the secret that all dev servers use. */
export function forgeToken(claims: Record<string, unknown>): string {
	const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString('base64url');
	const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
	const signature = createHmac('sha256', 'dev-mode-is-not-secret').update(body).digest('base64url');
	return `${body}.${signature}`;
}

/** Publishes a body as it is. */
export async function publish(
	engine: TestEngine,
	target: Record<string, string>,
	body: BodyInit,
	contentType = 'application/json'
): Promise<Response> {
	const query = new URLSearchParams(target).toString();
	return fetch(`${engine.url}/v1/realtime/publish?${query}`, {
		method: 'POST',
		body,
		headers: { 'content-type': contentType },
		...(body instanceof ReadableStream ? { duplex: 'half' } : {})
	} as RequestInit);
}

/** Sends the body of an event request as it is. */
export async function sendEvents(
	engine: TestEngine,
	body: string
): Promise<{ status: number; ids: string[]; error?: string }> {
	const response = await fetch(`${engine.url}/e/test`, { method: 'POST', body });
	return (await response.json()) as { status: number; ids: string[]; error?: string };
}
