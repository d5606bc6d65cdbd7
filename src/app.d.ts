import type { Person } from '$demo/server/people.js';

declare global {
	namespace App {
		interface Locals {
			/** Who is signed in, now: a stream that outlives its request sees a sign-out in another window. */
			readonly user: { name: string; role: 'admin' | 'member' } | null;
			/** Who visits, signed in or not. All requests of a person share this object. */
			person: Person;
		}
	}
}

export {};
