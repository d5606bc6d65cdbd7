import { SvelteMap } from 'svelte/reactivity';
import type { Subscriptions } from '../subscriptions.js';
import type { RealtimeBus } from './bus.js';

/**
 * In development, the buses in use on the page and what each is subscribed to: what the inspector shows,
 * wherever it stands. It must not ask a bus, whose manager may be about to go.
 */
export const openBuses = /* @__PURE__ */ new SvelteMap<RealtimeBus, Subscriptions>();
