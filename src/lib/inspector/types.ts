import type { RealtimeBus } from '../client/bus/bus.js';
import type { RealtimeResolvedSubscription } from '../client/types.js';

/** Props of `RealtimeInspector`. */
export interface RealtimeInspectorProps {
	/** Whether the panel is shown; can be bound. @default false */
	open?: boolean;
	/**
	 * Keys that show and hide the panel: modifiers (`ctrl`, `alt`, `shift`, `meta`) and a key, joined by
	 * `+`; `false` for none.
	 * @default 'alt+shift+r'
	 */
	hotkey?: string | false;
	/** Whether it exists at all. @default in development only */
	enabled?: boolean;
	/**
	 * The bus to show, with those that surround it. @default all on the page in development, otherwise the
	 * nearest
	 */
	bus?: RealtimeBus;
}

/** @internal A manager of the page and its channels. */
export interface InspectedManager {
	bus: RealtimeBus;
	subscriptions: readonly RealtimeResolvedSubscription[];
}
