export const roles = ['guest', 'member', 'admin'] as const;
export type Role = (typeof roles)[number];

/** A visitor of the demo. */
export interface Person {
	readonly name: string;
	role: Role;
	/** Whether this person may read the team's feed. The team page revokes and restores this right. */
	mayRead: boolean;
	/** Whether messages of the demo channel reach this person: the gate on the first page. */
	gateOpen: boolean;
	/** When the last request arrived. */
	seenAt: number;
}

const NAMES = 'alice bob carol dave erin frank grace heidi ivan judy karl lena mia noah olga'.split(
	' '
);
const MAX_PEOPLE = 200;
const PRESENT_MS = 15 * 60_000;
const MAX_PRESENT = 12;

/**
 * The visitors by name. Stands in for an app's session store. It lives on `globalThis`, so that it survives
 * when Vite loads this module again during development.
 */
const KEY = Symbol.for('sveltekit-inngest.demo.people');
const people = ((globalThis as { [KEY]?: Map<string, Person> })[KEY] ??= new Map<string, Person>());

/** The person a cookie belongs to. It holds a name and a role, without protection: this is a demo. */
export function personOf(cookie: string | undefined): Person {
	const [name = '', role = ''] = (cookie ?? '').split('.');
	const isValid = /^[a-z]+\d*$/.test(name) && name.length <= 24 && isRole(role);
	const person = people.get(name) ?? add(isValid ? name : newName(), isValid ? role : 'member');
	person.seenAt = Date.now();
	return person;
}

/** The value of a person's cookie. */
export function cookieOf({ name, role }: Person): string {
	return `${name}.${role}`;
}

export function findPerson(name: string): Person | undefined {
	return people.get(name);
}

/** Prefix of the names of simulated people. */
export const ROBOT = 'robot';

/** The people who were here in the last quarter of an hour, ordered by name. */
export function whoIsHere(): Person[] {
	const since = Date.now() - PRESENT_MS;
	return [...people.values()]
		.filter(({ name, seenAt }) => seenAt > since && !name.startsWith(ROBOT))
		.sort((a, b) => b.seenAt - a.seenAt)
		.slice(0, MAX_PRESENT)
		.sort((a, b) => a.name.localeCompare(b.name));
}

export function isRole(value: unknown): value is Role {
	return roles.includes(value as Role);
}

function add(name: string, role: Role): Person {
	const person: Person = { name, role, mayRead: true, gateOpen: true, seenAt: 0 };
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
