// The combinations that are tried. Ranges where an app that installs today gets what is newest, and
// versions where the lower bounds of the peers are meant.
const kit2 = {
	'@sveltejs/adapter-node': '^5',
	'@sveltejs/kit': '^2',
	'@sveltejs/vite-plugin-svelte': '^7',
	svelte: '^5',
	vite: '^8'
};
const kit3 = {
	'@sveltejs/adapter-node': '^6',
	'@sveltejs/kit': '^3',
	'@sveltejs/vite-plugin-svelte': '^7',
	svelte: '^5',
	vite: '^8'
};
const cloudflare2 = { '@sveltejs/adapter-cloudflare': '^7', wrangler: '^4' };
// The newest adapter for SvelteKit 3 is older than its first release. It builds with this prerelease, and with
// nothing that came later.
const cloudflare3 = {
	'@sveltejs/adapter-cloudflare': '8.0.0-next.6',
	'@sveltejs/kit': '3.0.0-next.25',
	wrangler: '^4'
};
/** A prerelease is no `^3.0.0` for npm. */
const overrides3 = { '@sveltejs/kit': '$@sveltejs/kit' };
const sdk3 = { inngest: '^3', '@inngest/realtime': '^0.4' };
const sdk4 = { inngest: '^4' };

/**
 * @typedef {object} Cell
 * @property {string} id
 * @property {string} title
 * @property {string[]} templates Folders laid over each other, the last on top.
 * @property {Record<string, string>} packages
 * @property {Record<string, string>} [overrides] Versions that npm is made to accept.
 * @property {number} node Builds and checks; also serves, unless `serveOn` says otherwise.
 * @property {number[]} [serveOn] Every Node that the built server is run on.
 * @property {boolean} [browser] Also streams to a real browser.
 * @property {'workerd'} [runtime] Runs in workerd in place of Node.
 * @property {string[]} [configs] Configurations of the Workers that run, the app's first.
 * @property {boolean} [hasObject] Whether all streams share a hub in a Durable Object.
 * @property {boolean} [types] Whether to check types. @default true
 */

/** @type {Cell[]} */
export const cells = [
	{
		id: 'kit2-sdk3',
		title: 'SvelteKit 2, inngest 3',
		templates: ['app', 'kit2', 'sdk3'],
		packages: { ...kit2, ...sdk3 },
		node: 20,
		serveOn: [20, 22, 24],
		browser: true
	},
	{
		id: 'kit2-sdk4',
		title: 'SvelteKit 2, inngest 4',
		templates: ['app', 'kit2', 'sdk4'],
		packages: { ...kit2, ...sdk4 },
		node: 20
	},
	{
		id: 'kit3-sdk4',
		title: 'SvelteKit 3, inngest 4',
		templates: ['app', 'kit3', 'sdk4'],
		packages: { ...kit3, ...sdk4 },
		node: 24,
		browser: true
	},
	{
		id: 'lowest-kit2-sdk3',
		title: 'Lowest of SvelteKit 2, inngest 3',
		templates: ['app', 'kit2', 'sdk3'],
		packages: {
			'@inngest/realtime': '0.4.4',
			'@sveltejs/adapter-node': '5.2.9',
			'@sveltejs/kit': '2.9.0',
			'@sveltejs/vite-plugin-svelte': '5.0.0',
			// It works from 3.42.3 on, but Inngest servers refuse functions of anything older than this.
			inngest: '3.54.0',
			svelte: '5.15.0',
			typescript: '5.8.2',
			vite: '6.0.0'
		},
		node: 20,
		browser: true
	},
	{
		id: 'lowest-kit3-sdk4',
		title: 'Lowest of SvelteKit 3, inngest 4',
		templates: ['app', 'kit3', 'sdk4'],
		packages: {
			'@sveltejs/adapter-node': '6.0.0',
			'@sveltejs/kit': '3.0.0',
			'@sveltejs/vite-plugin-svelte': '7.0.0',
			inngest: '4.1.0',
			svelte: '5.57.1',
			typescript: '6.0.2',
			vite: '8.0.12'
		},
		node: 22,
		browser: true
	},
	{
		id: 'workers',
		title: 'Cloudflare Workers',
		templates: ['app', 'kit2', 'workers', 'sdk4'],
		packages: {
			...kit2,
			...sdk4,
			...cloudflare2
		},
		node: 24,
		runtime: 'workerd',
		types: false
	},
	{
		id: 'object-kit2',
		title: 'Workers, hub in a Worker of its own',
		templates: ['app', 'kit2', 'workers', 'object', 'sdk4'],
		packages: { ...kit2, ...sdk4, ...cloudflare2 },
		node: 24,
		runtime: 'workerd',
		configs: ['wrangler.jsonc', 'hub/wrangler.jsonc'],
		hasObject: true,
		types: false
	},
	{
		id: 'wrapped-kit2',
		title: 'Workers, hub in a wrapper',
		templates: ['app', 'kit2', 'object', 'wrapped', 'kit2-wrapped', 'sdk4'],
		packages: { ...kit2, ...sdk4, ...cloudflare2 },
		node: 24,
		runtime: 'workerd',
		hasObject: true,
		types: false
	},
	{
		id: 'object-kit3',
		title: 'SvelteKit 3 on Workers, hub in a Worker of its own',
		templates: ['app', 'kit3', 'kit3-workers', 'object', 'sdk4'],
		packages: { ...kit3, ...sdk4, ...cloudflare3 },
		overrides: overrides3,
		node: 24,
		runtime: 'workerd',
		configs: ['wrangler.jsonc', 'hub/wrangler.jsonc'],
		hasObject: true,
		types: false
	},
	{
		id: 'wrapped-kit3',
		title: 'SvelteKit 3 on Workers, hub in a wrapper',
		templates: ['app', 'kit3', 'object', 'wrapped', 'kit3-wrapped', 'sdk4'],
		packages: { ...kit3, ...sdk4, ...cloudflare3 },
		overrides: overrides3,
		node: 24,
		runtime: 'workerd',
		hasObject: true,
		types: false
	}
];
