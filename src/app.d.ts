declare global {
	namespace App {
		interface Locals {
			user: { name: string; role: 'admin' | 'member' } | null;
		}
	}
}

export {};
