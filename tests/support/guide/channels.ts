/** The channels of the quick start, as a browser has them. */
export { demo as demoChannel, user as userChannel } from '../client/channels.js';
