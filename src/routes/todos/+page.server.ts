import { allTodos } from '$demo/server/todos.js';
import type { PageServerLoad } from './$types.js';

export const load: PageServerLoad = () => ({ todos: allTodos() });
