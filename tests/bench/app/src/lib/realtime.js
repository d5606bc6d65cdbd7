import { Inngest } from 'inngest';

export { benchChannel, userChannel } from './channels.js';

export const inngest = new Inngest({ id: 'bench', isDev: true, baseUrl: process.env.ENGINE_URL });
