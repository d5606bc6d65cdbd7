import { answers } from '$demo/server/answers.js';
import type { PageServerLoad } from './$types.js';

export const load: PageServerLoad = () => ({ questions: Object.keys(answers) });
