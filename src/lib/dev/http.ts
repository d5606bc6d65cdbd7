import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Access } from './access.js';
import { encode } from './gojson.js';

/** One HTTP request and its answer. */
export interface Exchange {
	request: IncomingMessage;
	response: ServerResponse;
	url: URL;
	/** The variable part of the path, if its route has one. */
	param: string;
}

/** A failure with a status and a text for the response. */
export class HttpError extends Error {
	readonly status: number;

	constructor(status: number, message: string) {
		super(message);
		this.status = status;
	}
}

export type Handler = (exchange: Exchange) => void | Promise<void>;

/** Handlers by `METHOD /path`; a segment `:` stands for any text. */
export type Routes = Record<string, Handler>;

/** Answers a request with the first route that fits. Failures are answered, too. */
export async function dispatch(
	routes: Routes,
	access: Access,
	request: IncomingMessage,
	response: ServerResponse
): Promise<void> {
	response.on('error', () => {});
	request.on('error', () => {});
	response.setHeader('x-inngest-server-kind', 'dev');
	try {
		const refusal = access.refuse(request.headers);
		if (refusal) throw new HttpError(403, refusal);
		allowOrigin(request, response);
		if (request.method === 'OPTIONS') return replyText(response, 200, '');
		const url = readUrl(request);
		const { handler, param } = route(routes, request.method ?? '', url.pathname);
		await handler({ request, response, url, param });
	} catch (error) {
		if (response.headersSent || response.destroyed) return void response.destroy();
		const status =
			error instanceof HttpError ? error.status : error instanceof URIError ? 400 : 500;
		failure(response, status, error instanceof Error ? error.message : String(error));
	}
}

function route(routes: Routes, method: string, path: string): { handler: Handler; param: string } {
	const segments = path.split('/');
	const exact = routes[`${method} ${path}`];
	if (exact) return { handler: exact, param: '' };
	for (let at = segments.length - 1; at > 1; at--) {
		if (segments[at] === '') continue;
		const handler = routes[`${method} ${segments.with(at, ':').join('/')}`];
		if (handler) return { handler, param: decodeURIComponent(segments[at]!) };
	}
	throw new HttpError(
		404,
		`The embedded Inngest dev engine has no ${method} ${path}. For the dashboard and all other routes run "npx inngest-cli@latest dev".`
	);
}

/** The URL of a request. */
export function readUrl(request: IncomingMessage): URL {
	try {
		return new URL(request.url ?? '/', 'http://localhost');
	} catch {
		throw new HttpError(400, 'Bad request URL');
	}
}

/**
 * Reads a whole body.
 *
 * @param maxBytes Most bytes to keep.
 * @param options With `cut` a longer body is cut there; otherwise it is an error (413).
 */
export async function readBody(
	request: IncomingMessage,
	maxBytes: number,
	options: { cut?: boolean } = {}
): Promise<Buffer> {
	const parts: Buffer[] = [];
	let size = 0;
	for await (const part of request as AsyncIterable<Buffer>) {
		size += part.length;
		if (size - part.length <= maxBytes) parts.push(part);
	}
	if (size > maxBytes && !options.cut) {
		throw new HttpError(413, `The body has ${size} bytes; at most ${maxBytes} are allowed here.`);
	}
	return Buffer.concat(parts).subarray(0, maxBytes);
}

/** Answers with JSON. */
export function reply(response: ServerResponse, status: number, value: unknown): void {
	response.writeHead(status, { 'content-type': 'application/json' });
	response.end(encode(value) + '\n');
}

/** Answers with a text. */
export function replyText(response: ServerResponse, status: number, text: string): void {
	if (text) response.setHeader('content-type', 'text/plain; charset=utf-8');
	response.writeHead(status).end(text);
}

/** Answers with an error in the format of the real server's API. */
export function failure(response: ServerResponse, status: number, text: string): void {
	reply(response, status, { error: text, data: null, status });
}

/** Lets the page read the answer. Its origin has been checked. */
function allowOrigin(request: IncomingMessage, response: ServerResponse): void {
	const { origin } = request.headers;
	if (!origin) return;
	response.setHeader('vary', 'Origin');
	response.setHeader('access-control-allow-origin', origin);
	if (request.method !== 'OPTIONS') return;
	response.setHeader('access-control-allow-methods', 'GET, POST, PUT, DELETE, OPTIONS');
	response.setHeader(
		'access-control-allow-headers',
		request.headers['access-control-request-headers'] ?? '*'
	);
	response.setHeader('access-control-max-age', '3600');
}
