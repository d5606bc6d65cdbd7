import type { TabProps } from './tab.js';

class State {
	props: TabProps | undefined = $state.raw();
}

export const state = new State();
