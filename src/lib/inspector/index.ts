export { default as RealtimeInspector } from './RealtimeInspector.svelte';
export type { RealtimeInspectorProps } from './types.js';
