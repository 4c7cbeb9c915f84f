// A WebSocket that speaks the protocol and reconnects. The server answers requests in order (§2.3), so a queue of
// pending requests is enough to find the request of each reply.

import { parse } from './wire.js';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const CONNECT_MS = 10_000;
/** After this time of silence, the page sends a PING. The server has the same time to answer it. */
const SILENCE_MS = 25_000;
const ANSWER_MS = 10_000;
/** The codes of `CLOSED` after which the page does not reconnect by itself (protocol.md §9). */
const UNWANTED = new Set(['kicked', 'banned', 'stopped']);

/**
 * Returns the pause before attempt `n` (from 0). It doubles each time, and has a random part so that not all clients
 * reconnect at once.
 */
export function pauseMs(n, random = Math.random) {
	const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(n, 10));
	return Math.round(longest * (0.5 + random() / 2));
}

export class Connection {
	/**
	 * The state: `connecting`, `up`, `down` (the next attempt is at `retryAt`) or `ended` (there is no further
	 * attempt).
	 */
	state = 'down';
	/** The time of the next attempt in milliseconds since 1970, while `state` is `down`. */
	retryAt = null;
	/** The code and text with which the server closed the connection: `{code, text}`. */
	closed = null;

	#socket = null;
	#pending = [];
	#attempt = 0;
	#retry = null;
	#watch = null;
	#slow = null;
	#since = 0;
	#heard = 0;
	#asked = 0;

	/**
	 * Calls `onup()` when connected, `ondown()` when disconnected, `onevent(value)` for each line that answers no request,
	 * and `onchange()` when `state` has changed.
	 */
	constructor({ url, open = (url) => new WebSocket(url), onup, ondown, onevent, onchange = () => {} }) {
		Object.assign(this, { url, open, onup, ondown, onevent, onchange });
	}

	start() {
		clearTimeout(this.#retry);
		this.retryAt = null;
		this.state = 'connecting';
		this.closed = null;
		const socket = this.open(this.url);
		this.#socket = socket;
		const mine = (act) => (event) => this.#socket === socket && act(event);
		this.#slow = setTimeout(() => this.#lost(), CONNECT_MS);
		socket.onopen = mine(() => {
			clearTimeout(this.#slow);
			this.state = 'up';
			this.#heard = this.#since = Date.now();
			this.#asked = 0;
			this.#watch = setInterval(() => this.#ask(), 5000);
			this.onup();
			this.onchange();
		});
		socket.onmessage = mine(({ data }) => typeof data === 'string' && this.#line(data));
		socket.onclose = mine(() => this.#lost());
		this.onchange();
	}

	/** Reconnects at once or checks the connection, because the user or the browser says that it may work now. */
	retryNow() {
		if (this.state === 'down' || this.state === 'ended') this.start();
		else if (this.state === 'up') this.#ask(true);
	}

	/**
	 * Sends a line. Returns its reply, a value with `ok`, or `null` if the connection breaks first. `onpart` is called
	 * with each line of a list before the reply. `bytes` are sent after the line.
	 */
	request(line, onpart = () => {}, bytes = null) {
		if (this.state !== 'up') return Promise.resolve(null);
		return new Promise((reply) => {
			this.#pending.push({ reply, onpart });
			this.#socket.send(line);
			if (bytes) this.#socket.send(bytes);
		});
	}

	/** Disconnects, and does not reconnect. */
	stop() {
		this.closed = { code: 'stopped', text: '' };
		this.#lost();
	}

	/** Disconnects, and reconnects later. */
	drop() {
		this.#lost();
	}

	/** Records that the server serves this page: the next pause is short again. */
	works() {
		this.#attempt = 0;
	}

	/**
	 * Disconnects, because the server cannot serve this page now, as `reply` says, and reconnects after a second or more.
	 * By then, another server may answer at the same address.
	 */
	leave({ code, text }) {
		this.closed = { code, text };
		this.#lost(2);
	}

	#line(line) {
		this.#heard = Date.now();
		this.#asked = 0;
		const value = parse(line);
		switch (value?.kind) {
			case undefined:
				return;
			case 'ok':
			case 'err':
				this.#pending.shift()?.reply(value);
				return;
			case 'past':
			case 'room':
			case 'user':
			case 'help':
			case 'ignored':
			case 'invited':
			case 'ban':
			case 'reaction':
			case 'hook':
			case 'reader':
				this.#pending[0]?.onpart(value);
				return;
			case 'closed':
				this.closed = value;
				return;
			default:
				this.onevent(value);
		}
	}

	/**
	 * Sends a PING after a long silence, because a connection can break without notice, for example while a laptop
	 * sleeps.
	 */
	#ask(now = false) {
		if (this.#asked) {
			if (Date.now() - this.#asked > ANSWER_MS) this.#lost();
		} else if (now || Date.now() - this.#heard > SILENCE_MS) {
			this.#asked = Date.now();
			this.request('PING');
		}
	}

	/** Disconnects. The pause is at least that of attempt `least`. */
	#lost(least = 0) {
		const socket = this.#socket;
		this.#socket = null;
		if (socket) {
			socket.onclose = null;
			socket.close();
		}
		clearInterval(this.#watch);
		clearTimeout(this.#slow);
		clearTimeout(this.#retry);
		const wasUp = this.state === 'up';
		if (wasUp && Date.now() - this.#since >= LONGEST_PAUSE_MS) this.works();
		this.state = 'down';
		for (const { reply } of this.#pending.splice(0)) reply(null);
		if (UNWANTED.has(this.closed?.code)) {
			this.state = 'ended'; // the user can reconnect, the page does not
		} else {
			this.#attempt = Math.max(this.#attempt, least);
			const pause = pauseMs(this.#attempt++);
			this.retryAt = Date.now() + pause;
			this.#retry = setTimeout(() => this.start(), pause);
		}
		if (wasUp) this.ondown();
		this.onchange();
	}
}
