// Runs a built app beside an engine and streams what a function publishes.
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import { serve } from './processes.mjs';

const TIMEOUT_MS = 30_000;
const JSON_HEADERS = { 'content-type': 'application/json' };

async function freePort() {
	const server = createServer();
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	const { port } = server.address();
	await new Promise((resolve) => server.close(resolve));
	return port;
}

/** Tries until it succeeds. */
async function eventually(what, attempt) {
	const deadline = Date.now() + TIMEOUT_MS;
	for (;;) {
		try {
			return await attempt();
		} catch (error) {
			if (Date.now() > deadline) throw new Error(`${what}: ${error.message}`, { cause: error });
			await delay(100);
		}
	}
}

/** Starts the built app: on Node, or in workerd. @returns its process and URL. */
async function startApp(app, node, engineUrl) {
	const port = await freePort();
	const url = `http://127.0.0.1:${port}`;
	const { configs = [] } = app.cell;
	// Variables of the command line are the app's alone.
	for (const config of configs.slice(1)) {
		const file = join(app.folder, dirname(config), '.dev.vars');
		await writeFile(file, `INNGEST_DEV=${engineUrl}\n`);
	}
	const options = { cwd: app.folder, ready: /Listening on|Ready on/ };
	const process =
		app.cell.runtime === 'workerd'
			? await serve(
					node,
					[
						join(app.folder, 'node_modules/wrangler/bin/wrangler.js'),
						...[
							'dev',
							'--ip',
							'127.0.0.1',
							'--port',
							String(port),
							'--show-interactive-dev-session=false'
						],
						...configs.flatMap((config) => ['--config', config]),
						...['--var', `INNGEST_DEV:${engineUrl}`]
					],
					{
						...options,
						env: app.env({ CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false' })
					}
				)
			: await serve(node, ['build/index.js'], {
					...options,
					env: app.env({
						...{ NODE_ENV: 'production', HOST: '127.0.0.1', PORT: String(port), ORIGIN: url },
						INNGEST_DEV: engineUrl,
						// The adapter of SvelteKit 3 takes plain HTTP for HTTPS. Inngest 3 knows the first name.
						...{ INNGEST_SERVE_HOST: url, INNGEST_SERVE_ORIGIN: url }
					})
				});
	return { process, url };
}

/** Opens a stream of both channels, and waits until both are live. */
async function openStream(url) {
	const abort = new AbortController();
	const response = await fetch(`${url}/api/events`, {
		method: 'POST',
		headers: JSON_HEADERS,
		body: JSON.stringify({ subscriptions: [{ channel: 'news' }, { channel: 'chat:lobby' }] }),
		signal: abort.signal
	});
	if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
	const events = [];
	const parser = createParser({
		onEvent: ({ event, data }) => events.push({ event, ...JSON.parse(data) })
	});
	const read = async () => {
		const decoder = new TextDecoder();
		for await (const chunk of response.body) parser.feed(decoder.decode(chunk, { stream: true }));
	};
	const ended = read().catch(() => {});
	await eventually('both channels are live', () => {
		const live = events.filter(({ status }) => status === 'connected');
		expectThat(live.length >= 2, 'live channels', events);
	});
	return { events, ended, close: () => abort.abort() };
}

const sendEvent = async (engineUrl, text) => {
	const body = JSON.stringify({ name: 'matrix/hello', data: { text } });
	const response = await fetch(`${engineUrl}/e/matrix`, { method: 'POST', body });
	if (!response.ok) throw new Error(`The engine refused an event: ${await response.text()}`);
};

const expectThat = (condition, what, shown) => {
	if (!condition) throw new Error(`${what}: ${JSON.stringify(shown)}`);
};

/** What the app's endpoint says of itself, and what it runs on. */
async function readStats(url) {
	return (await fetch(`${url}/api/stats`)).json();
}

/** Streams to two HTTP clients. @returns one that is still open. */
async function streamToHttp(url, engineUrl, { sockets, runtime }) {
	const streams = [await openStream(url), await openStream(url)];
	const stats = await readStats(url);
	expectThat(stats.runtime.startsWith(runtime), `it runs on ${runtime}`, stats);
	const { inngest } = stats.hub.sources;
	expectThat(inngest.sockets === sockets, `sockets to Inngest are ${sockets}`, stats);
	await sendEvent(engineUrl, 'over HTTP');
	for (const { events } of streams) {
		const messages = () => events.filter(({ event }) => event === 'message');
		await eventually('both messages arrive', () =>
			expectThat(messages().length === 2, 'messages', events)
		);
		const [story, text] = messages();
		const { title } = story.data;
		expectThat(title === 'over HTTP' && !!story.runId, 'the first is of a function', story);
		expectThat(text.channel === 'chat:lobby' && text.data.text === title, 'the second', text);
	}
	const [open, left] = streams;
	left.close();
	await eventually('a client that left is let go', async () => {
		const { streams } = await readStats(url);
		expectThat(streams === 1, 'open streams', streams);
	});
	return open;
}

/** Streams to a page in a browser: the client's half of the package, as it was built. */
async function streamToBrowser(browser, url, engineUrl) {
	const page = await browser.newPage();
	const errors = [];
	page.on('pageerror', (error) => errors.push(error.message));
	try {
		await page.goto(url);
		await page.locator('#health', { hasText: 'connected' }).waitFor({ timeout: TIMEOUT_MS });
		await sendEvent(engineUrl, 'in a browser');
		await page.locator('#story', { hasText: 'in a browser' }).waitFor({ timeout: TIMEOUT_MS });
		await page.locator('#text', { hasText: 'in a browser' }).waitFor({ timeout: TIMEOUT_MS });
		expectThat(errors.length === 0, 'the page has no errors', errors);
	} finally {
		await page.close();
	}
}

/**
 * Streams from the built app, served by `node`.
 *
 * @param {{ app: import('./app.mjs').App, node: string, browser?: import('playwright').Browser }} options
 */
export async function stream({ app, node, browser }) {
	const engine = await serve(node, ['engine.mjs'], {
		cwd: app.folder,
		env: app.env(),
		ready: /http:\S+/
	});
	const [engineUrl] = engine.match;
	const { process: server, url } = await startApp(app, node, engineUrl);
	try {
		const { status } = await eventually('the app registers its functions', () =>
			fetch(`${url}/api/inngest`, { method: 'PUT', headers: JSON_HEADERS, body: '{}' })
		);
		expectThat(status === 200, 'the app registers its functions', status);
		const isWorkerd = app.cell.runtime === 'workerd';
		const open = await streamToHttp(
			url,
			engineUrl,
			// Workers may not share a socket between requests. With an object, the socket is the object's.
			isWorkerd
				? { sockets: app.cell.hasObject ? 0 : 2, runtime: 'Cloudflare-Workers' }
				: { sockets: 1, runtime: 'Node.js/' }
		);
		if (browser) await streamToBrowser(browser, url, engineUrl);
		const tookMs = await server.stop();
		if (!isWorkerd) {
			await open.ended;
			expectThat(tookMs < 5_000, 'the server ends while a stream is open', { tookMs });
		}
		open.close();
	} catch (error) {
		error.message += `\n--- server ---\n${server.output.slice(-3_000)}\n--- engine ---\n${engine.output.slice(-1_000)}`;
		throw error;
	} finally {
		await server.stop('SIGKILL');
		await engine.stop('SIGKILL');
	}
}
