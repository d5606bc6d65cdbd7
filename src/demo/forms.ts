import type { SubmitFunction } from '@sveltejs/kit';

/** For `use:enhance`: leaves the fields as they are, and loads nothing anew. */
export const keep: SubmitFunction =
	() =>
	({ update }) =>
		update({ reset: false, invalidateAll: false });
