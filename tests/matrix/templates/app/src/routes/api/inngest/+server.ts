import { serve } from 'inngest/sveltekit';
import { functions } from '../../../lib/functions.js';
import { inngest } from '../../../lib/inngest.js';

export const { GET, POST, PUT } = serve({ client: inngest, functions });
