import { SvelteMap } from 'svelte/reactivity';
import type { TransportOwner } from '../transport/transport.js';

/** The managers of this page that share a stream, and whether each leads: what the inspector shows. */
export const roles = /* @__PURE__ */ new SvelteMap<TransportOwner, boolean>();
