import { loadEnv } from 'vite';
import type { Plugin, ViteDevServer } from 'vite';
import { Attachment } from './vite/attachment.js';

const DEFAULT_PORT = 8288;
const CODE = /\.(?:[cm]?[jt]s|json)$/;

/** Options of the Vite plugin. */
export interface InngestDevPluginOptions {
	/** Port of the embedded engine; where it is taken, the next that is free. @default 8288 */
	port?: number;
	/** Path at which the app serves its Inngest functions. @default '/api/inngest' */
	servePath?: string;
	/** Also start under Vitest. @default false */
	underVitest?: boolean;
}

/**
 * Gives the app an Inngest engine while `vite dev` runs: the one that answers at `INNGEST_BASE_URL`
 * or at the port, else an embedded one. Registers the app there, again whenever server code changes,
 * and does nothing in builds and previews. Needs Vite 6 or newer.
 */
export function inngestDev(options: InngestDevPluginOptions = {}): Plugin {
	const port = options.port ?? DEFAULT_PORT;
	const servePath = options.servePath ?? '/api/inngest';
	// By Vite's own client environment: while a server restarts there are two of them.
	const attachments = new Map<unknown, Attachment>();
	return {
		name: 'sveltekit-inngest',
		apply: (_config, { command, isPreview }) =>
			command === 'serve' && !isPreview && (options.underVitest || !process.env.VITEST),
		// A dev server in a container calls the app by this name.
		config: () => ({ server: { allowedHosts: ['host.docker.internal'] } }),
		async configureServer(server) {
			const { logger, mode, envDir } = server.config;
			const envFiles = envDir === false ? {} : loadEnv(mode, envDir, 'INNGEST_');
			const attachment = await Attachment.open({ logger, port, servePath, envFiles });
			attachments.set(server.environments.client, attachment);
			server.httpServer?.once('listening', () => attachment.serve(origin(server)));
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

function origin({ config, httpServer }: ViteDevServer): string {
	const address = httpServer?.address();
	const port = typeof address === 'object' ? address?.port : config.server.port;
	const host = typeof config.server.host === 'string' ? config.server.host : 'localhost';
	const reachable = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
	return `${config.server.https ? 'https' : 'http'}://${reachable}:${port}`;
}
