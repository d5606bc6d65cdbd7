/** The pages of the demo, in the order of the navigation. */
export const pages = [
	{ path: '/', name: 'Live values' },
	{ path: '/job', name: 'A job' },
	{ path: '/answer', name: 'An AI answer' },
	{ path: '/team', name: 'Team feed' },
	{ path: '/board', name: 'Live cursors' },
	{ path: '/todos', name: 'Offline list' },
	{ path: '/nested', name: 'Nested managers' },
	{ path: '/break', name: 'Break it' },
	{ path: '/stats', name: 'Server stats' }
] as const;
