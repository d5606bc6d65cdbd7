import { groups } from '$lib/pages.js';

export const load = () => ({ groups });
