// One WebSocket that speaks the protocol, and comes back after it broke. Requests are answered in order (§2.3), so
// a queue of those that wait is all that ties a reply to its request.

import { parse } from './wire.js';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const CONNECT_MS = 10_000;
/** Silence after which the server is asked whether it is there, and how long it has to answer. */
const SILENCE_MS = 25_000;
const ANSWER_MS = 10_000;
/** Codes of `CLOSED` after which nobody comes back by himself (protocol.md §9). */
const UNWANTED = new Set(['kicked', 'banned', 'stopped']);

/** The pause before attempt `n` (from 0): doubling, and somewhere in its upper half, so that not all come at once. */
export function pauseMs(n, random = Math.random) {
	const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(n, 10));
	return Math.round(longest * (0.5 + random() / 2));
}

export class Connection {
	/** `connecting`, `up`, `down` (an attempt follows at `retryAt`) or `ended` (none does). */
	state = 'down';
	/** When the next attempt is made, in milliseconds since 1970, while `state` is `down`. */
	retryAt = null;
	/** What the server said when it ended the connection: `{code, text}`. */
	closed = null;

	#socket = null;
	#pending = [];
	#attempt = 0;
	#retry = null;
	#watch = null;
	#slow = null;
	#heard = 0;
	#asked = 0;

	/**
	 * `onup()` when a connection stands, `ondown()` when it broke, `onevent(value)` for what nobody asked for,
	 * `onchange()` when the state to be shown has changed.
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
			this.#heard = Date.now();
			this.#asked = 0;
			this.#watch = setInterval(() => this.#ask(), 5000);
			this.onup();
			this.onchange();
		});
		socket.onmessage = mine(({ data }) => typeof data === 'string' && this.#line(data));
		socket.onclose = mine(() => this.#lost());
		this.onchange();
	}

	/** Tries at once: the person asked for it, the network is back, the page is looked at again. */
	retryNow() {
		if (this.state === 'down' || this.state === 'ended') this.start();
		else if (this.state === 'up') this.#ask(true);
	}

	/**
	 * Sends a line. Its reply comes as a value with `ok`, or `null` when the connection breaks before.
	 * `onpart` gets the lines of a list that stand before the reply.
	 */
	request(line, onpart = () => {}) {
		if (this.state !== 'up') return Promise.resolve(null);
		return new Promise((reply) => {
			this.#pending.push({ reply, onpart });
			this.#socket.send(line);
		});
	}

	/** Ends it for good. */
	stop() {
		this.closed = { code: 'stopped', text: '' };
		this.#lost();
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
				// What was answered this far has proved to work.
				this.#attempt = 0;
				return;
			case 'past':
			case 'room':
			case 'user':
			case 'help':
			case 'ignored':
			case 'invited':
			case 'ban':
				this.#pending[0]?.onpart(value);
				return;
			case 'closed':
				this.closed = value;
				return;
			default:
				this.onevent(value);
		}
	}

	/** A connection can be dead without a word (a laptop that slept): who hears nothing asks. */
	#ask(now = false) {
		if (this.#asked) {
			if (Date.now() - this.#asked > ANSWER_MS) this.#lost();
		} else if (now || Date.now() - this.#heard > SILENCE_MS) {
			this.#asked = Date.now();
			this.request('PING');
		}
	}

	#lost() {
		const socket = this.#socket;
		this.#socket = null;
		if (socket) {
			socket.onclose = null;
			socket.close();
		}
		clearInterval(this.#watch);
		clearTimeout(this.#slow);
		const wasUp = this.state === 'up';
		this.state = 'down';
		for (const { reply } of this.#pending.splice(0)) reply(null);
		if (UNWANTED.has(this.closed?.code)) {
			this.state = 'ended'; // coming back by itself would be rude; the person may
		} else {
			const pause = pauseMs(this.#attempt++);
			this.retryAt = Date.now() + pause;
			this.#retry = setTimeout(() => this.start(), pause);
		}
		if (wasUp) this.ondown();
		this.onchange();
	}
}
