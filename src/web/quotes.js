// Messages to which others reply, and which are not among the loaded ones. Pure.

/** The number of messages that are kept. The oldest are dropped first, and are requested again when they are shown. */
const KEPT_MAX = 300;

export class Quotes {
	#known = new Map(); // id → event, or `null` if there is none

	/** Returns the message with this id, `null` if the server has none, `undefined` if it is not known. */
	get(id) {
		return this.#known.get(id);
	}

	set(id, event) {
		this.#known.delete(id);
		this.#known.set(id, event);
		if (this.#known.size > KEPT_MAX) this.#known.delete(this.#known.keys().next().value);
	}

	/** Applies an edit. */
	edit(id, text, time) {
		const event = this.#known.get(id);
		if (event) this.#known.set(id, edited(event, text, time));
	}
}

/**
 * Returns a message with the new text of an edit, unless the message already has a newer text, as messages from the
 * log do.
 */
export function edited(message, text, time) {
	return time >= (message.edited ?? 0) ? { ...message, text, edited: time } : message;
}
