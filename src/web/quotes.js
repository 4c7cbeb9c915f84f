// Messages that others answer and that are not among the loaded ones. Pure.

/** Messages that are kept; the oldest are dropped first, and requested again when they are shown. */
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

	/** Follows an edit. */
	edit(id, text, time) {
		const event = this.#known.get(id);
		if (event) this.#known.set(id, edited(event, text, time));
	}
}

/** Returns a message with the text that an edit gives it, unless it has a newer one: the log shows the newest text. */
export function edited(message, text, time) {
	return time >= (message.edited ?? 0) ? { ...message, text, edited: time } : message;
}
