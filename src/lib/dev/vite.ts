import { loadEnv } from 'vite';
import type { Plugin, ViteDevServer } from 'vite';
import { Attachment } from './vite/attachment.js';

const DEFAULT_PORT = 8288;
const CODE = /\.(?:[cm]?[jt]s|json)$/;

/** Options of the Vite plugin. */
export interface InngestDevPluginOptions {
	/** Port of the embedded engine; if it is taken, the next free one. @default 8288 */
	port?: number;
	/**
	 * Path at which the app serves its Inngest functions, below SvelteKit's `kit.paths.base`.
	 * @default '/api/inngest'
	 */
	servePath?: string;
	/**
	 * Names of hosts, without a port, under which the embedded engine may be called and whose pages may call it,
	 * besides `localhost` and loopback addresses.
	 * @default []
	 */
	allowedHosts?: readonly string[];
	/** Also start under Vitest. @default false */
	underVitest?: boolean;
}

/**
 * Gives the app an Inngest engine while `vite dev` runs: the one that answers at `INNGEST_BASE_URL` or at the
 * port, otherwise an embedded one. Registers the app there at each start and whenever server code has
 * changed, and logs the outcome in one line. Does nothing in builds and previews. Needs Vite 6 or newer.
 */
export function inngestDev(options: InngestDevPluginOptions = {}): Plugin {
	const port = options.port ?? DEFAULT_PORT;
	const { servePath = '/api/inngest', allowedHosts = [] } = options;
	// Keyed by the client environment of each Vite server: while one restarts there are two.
	const attachments = new Map<unknown, Attachment>();
	return {
		name: 'sveltekit-inngest',
		apply: (_config, { command, isPreview }) =>
			command === 'serve' && !isPreview && (options.underVitest || !process.env.VITEST),
		// The name under which a dev server in a container calls the app.
		config: () => ({ server: { allowedHosts: ['host.docker.internal'] } }),
		async configureServer(server) {
			const { logger, mode, envDir } = server.config;
			const envFiles = envDir === false ? {} : loadEnv(mode, envDir, 'INNGEST_');
			const attachment = await Attachment.open({ logger, port, servePath, allowedHosts, envFiles });
			attachments.set(server.environments.client, attachment);
			server.httpServer?.once('listening', () => attachment.serve(baseUrl(server)));
		},
		hotUpdate({ modules }) {
			if (this.environment.name !== 'ssr') return;
			if (!modules.some(({ file }) => file !== null && CODE.test(file))) return;
			for (const attachment of attachments.values()) attachment.reload();
		},
		async buildEnd() {
			const key = this.environment;
			await attachments.get(key)?.close();
			attachments.delete(key);
		}
	};
}

/** Where the app answers. SvelteKit's base path is also that of Vite. */
function baseUrl({ config, httpServer }: ViteDevServer): string {
	const address = httpServer?.address();
	const port = typeof address === 'object' ? address?.port : config.server.port;
	const host = typeof config.server.host === 'string' ? config.server.host : 'localhost';
	const reachable = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
	const origin = `${config.server.https ? 'https' : 'http'}://${reachable}:${port}`;
	return new URL(config.base, origin).href;
}
