import { request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';

/** The answer of a server. */
export interface PostAnswer {
	status: number;
	headers: IncomingHttpHeaders;
	body: Buffer;
}

interface PostOptions {
	method?: 'POST' | 'PUT';
	headers: Record<string, string>;
	signal: AbortSignal;
	/** A longer body is an error. @default unlimited */
	maxBytes?: number;
}

/**
 * Sends a body and reads the answer. Does not use `fetch`, which gives up after five minutes without an
 * answer: a step may take longer.
 */
export function post(url: string, body: string, options: PostOptions): Promise<PostAnswer> {
	const { method = 'POST', headers, signal, maxBytes = Infinity } = options;
	const send = url.startsWith('https:') ? httpsRequest : httpRequest;
	return new Promise((resolve, reject) => {
		const length = String(Buffer.byteLength(body));
		const request = send(url, {
			method,
			headers: { ...headers, 'content-length': length },
			signal,
			agent: false,
			// Apps under development have self-signed certificates.
			rejectUnauthorized: false
		});
		request.on('error', reject);
		request.on('response', (response) => {
			const parts: Buffer[] = [];
			let size = 0;
			response.on('data', (part: Buffer) => {
				size += part.length;
				if (size <= maxBytes) parts.push(part);
			});
			response.on('error', reject);
			response.on('end', () => {
				if (size > maxBytes) return reject(new BodyTooLargeError());
				resolve({
					status: response.statusCode ?? 0,
					headers: response.headers,
					body: Buffer.concat(parts)
				});
			});
		});
		request.end(body);
	});
}

/** An answer exceeded the size limit. */
export class BodyTooLargeError extends Error {
	constructor() {
		super("Your function's response body exceeds the maximum size limit");
	}
}
