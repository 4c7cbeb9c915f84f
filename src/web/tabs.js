// Finds out whether the other tabs of this browser are still open. A tab that has crashed or was closed quickly
// leaves unsent messages behind, which another tab sends.

import { randomId } from './store.js';

/**
 * The time within which an open tab answers, even on a slow machine. If a tab does not, another tab takes over its
 * unsent messages.
 */
const ANSWER_MS = 2000;

function channelOf(name) {
	try {
		return new BroadcastChannel(name);
	} catch {
		return null; // an old browser, or blocked storage
	}
}

export class Tabs {
	/** The id of this page, until it is loaded again. */
	id = randomId();
	#asking = new Set();

	constructor(channel = channelOf('plainchat')) {
		this.channel = channel;
		if (!channel) return;
		channel.onmessage = ({ data }) => {
			if (data?.ask?.includes(this.id)) channel.postMessage({ here: this.id });
			for (const missing of this.#asking) missing.delete(data?.here);
		};
	}

	/** Returns the tabs among `ids` that do not answer. */
	async gone(ids, wait = (ms) => new Promise((done) => setTimeout(done, ms))) {
		const missing = new Set(ids);
		if (!missing.size || !this.channel) return new Set();
		this.#asking.add(missing);
		this.channel.postMessage({ ask: [...missing] });
		await wait(ANSWER_MS);
		this.#asking.delete(missing);
		return missing;
	}
}
