import { watchPage, type Page, type PageEvents } from './page.js';

/** Watches the page, if there is one: scripts and workers have none. */
export const watchAnywhere = (events: PageEvents): Page =>
	globalThis.window ? watchPage(events) : noPage();

/** In Node and in a worker there is no page that could be hidden or left. */
function noPage(): Page {
	return { isAway: () => false, pauseOnHidden() {}, unlessLeft: (act) => act(), close() {} };
}
