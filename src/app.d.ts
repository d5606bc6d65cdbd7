import type { Person } from '$demo/server/people.js';

declare global {
	namespace App {
		interface Locals {
			/** Who is signed in. */
			user: { name: string; role: 'admin' | 'member' } | null;
			/** Who visits, signed in or not. */
			person: Person;
		}
	}
}

export {};
