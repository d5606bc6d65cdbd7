/** What the backends of this package use from `server/` besides the types of a backend. */
export { BackendError } from './errors.js';
export { detached } from '../runtime/context.js';
export { unref } from '../runtime/runtime.js';
