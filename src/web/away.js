// Who is away, and why. The server reports it in each shared room, and again before a direct message to a user who is away.
// Pure.

import { fold } from './wire.js';

export class Away {
	/** The user's own text, '' if the user is not away. */
	own = '';
	#texts = new Map(); // folded nick → text

	/** Returns why a user is away, or ''. */
	of(nick) {
		return this.#texts.get(fold(nick)) ?? '';
	}

	/** Notes why a user is away; '' if the user is here. */
	set(nick, text) {
		if (text) this.#texts.set(fold(nick), text);
		else this.#texts.delete(fold(nick));
	}

	/** Applies the new name of a user, which each shared room announces. */
	rename(nick, to) {
		const text = this.of(nick);
		if (!text) return;
		this.set(nick, '');
		this.set(to, text);
	}

	/** Forgets the others: the connection has ended. */
	clear() {
		this.#texts.clear();
	}
}
