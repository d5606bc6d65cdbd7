import type { LayoutServerLoad } from './$types.js';

export const load: LayoutServerLoad = ({ locals }) => {
	const { name, role } = locals.person;
	return { name, role };
};
