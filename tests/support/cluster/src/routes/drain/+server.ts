import { realtime } from '../../realtime.js';

export const POST = async ({ url }: { url: URL }): Promise<Response> => {
	await realtime.drain(Number(url.searchParams.get('ms')));
	return new Response('drained');
};
