import { serve } from 'inngest/sveltekit';
import { functions } from '$demo/server/functions/index.js';
import { inngest } from '$demo/server/inngest.js';

export const { GET, POST, PUT } = serve({ client: inngest, functions });
