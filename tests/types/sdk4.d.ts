// Inngest 3 has no `inngest/realtime`, which the package's own types name where it exists.
declare module 'inngest/realtime' {
	export type { Realtime } from 'inngest4/realtime';
}
