/** What backends of this package use of the ground floor. */
export { BackendError } from './errors.js';
export { detached } from '../runtime/context.js';
export { unref } from '../runtime/runtime.js';
