export const roles = ['guest', 'member', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Somebody who visits the demo. */
export interface Person {
	readonly name: string;
	role: Role;
	/** Whether the team's feed may be read: the right that the team page revokes. */
	mayRead: boolean;
	/** Whether messages of the demo channel pass: the gate on the first page. */
	gateOpen: boolean;
}

const NAMES = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy'];
const MAX_PEOPLE = 200;

/**
 * Who is who, in place of an app's session store. Kept on `globalThis` so that it outlives a module
 * that is loaded anew during development.
 */
const KEY = Symbol.for('sveltekit-inngest.demo.people');
const people = ((globalThis as { [KEY]?: Map<string, Person> })[KEY] ??= new Map<string, Person>());

/** The person of a cookie. It only says a name and a role: a demo has nobody to protect. */
export function personOf(cookie: string | undefined): Person {
	const [name = '', role = ''] = (cookie ?? '').split('.');
	const isValid = /^[a-z]+\d*$/.test(name) && name.length <= 24 && isRole(role);
	const known = people.get(name);
	if (known) return known;
	return add(isValid ? name : newName(), isValid ? role : 'member');
}

/** Value of the cookie that stands for a person. */
export function cookieOf({ name, role }: Person): string {
	return `${name}.${role}`;
}

export function findPerson(name: string): Person | undefined {
	return people.get(name);
}

export function everybody(): Person[] {
	return [...people.values()];
}

export function isRole(value: unknown): value is Role {
	return roles.includes(value as Role);
}

function add(name: string, role: Role): Person {
	const person: Person = { name, role, mayRead: true, gateOpen: true };
	people.set(name, person);
	if (people.size > MAX_PEOPLE) people.delete(people.keys().next().value!);
	return person;
}

function newName(): string {
	for (let round = 1; ; round++) {
		for (const name of NAMES) {
			const candidate = round === 1 ? name : `${name}${round}`;
			if (!people.has(candidate)) return candidate;
		}
	}
}
