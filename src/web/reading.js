// The position up to which the user has read each room. All devices of a registered user share it: it is the named
// reader `me` of each room (protocol.md §4.24). Pure, except for timers.

import { fold, words } from './wire.js';

const NAME = 'me';

/** The minimum time between two requests that move the reader of a room. */
const EVERY_MS = 1000;

export class Reading {
	/** Whether the nick is registered; `undefined` as long as that is not known. */
	isRegistered;
	#isOn = false;
	#positions = new Map(); // folded room → the newest position that the server is known to have, or is sent
	#paced = new Map(); // folded room → {timer, id}, for a second after each request

	/**
	 * `request(line, onrow)` sends a request and returns the promise of its reply. Calls `onmoved(room, id)` for each
	 * position on the server, and when another device moves one.
	 */
	constructor(request, onmoved) {
		this.request = request;
		this.onmoved = onmoved;
	}

	/** Returns the position in a room; `undefined` if there is none. */
	of(room) {
		return this.#positions.get(fold(room));
	}

	/** Requests the positions if `nick` is registered. The replies precede those of later requests. */
	async start(nick) {
		this.stop();
		const rows = [];
		const [whois] = await Promise.all([this.request(`WHOIS ${nick}`), this.request('READERS', (row) => rows.push(row))]);
		this.#isOn = Boolean(whois?.ok) && words(whois.text, 2)[1] === 'registered';
		this.isRegistered = whois?.ok ? this.#isOn : undefined;
		for (const row of rows) this.moved(row);
	}

	stop() {
		for (const { timer } of this.#paced.values()) clearTimeout(timer);
		this.#paced.clear();
		this.#positions.clear();
		this.#isOn = false;
		this.isRegistered = undefined;
	}

	/** Takes a line of `READERS`, or an event. */
	moved({ room, seen, reader }) {
		if (!this.#isOn || reader !== NAME || seen <= this.of(room)) return;
		this.#positions.set(fold(room), seen);
		this.onmoved(room, seen);
	}

	/** Saves that the user has read a room up to `id`: at once, or when a second has passed since the last request. */
	read(room, id) {
		const key = fold(room);
		if (!this.#isOn || !id || id <= this.of(room)) return;
		const paced = this.#paced.get(key);
		if (paced) return void (paced.id = id);
		const next = () => {
			const { id } = this.#paced.get(key);
			this.#paced.delete(key);
			this.read(room, id);
		};
		this.#paced.set(key, { id: 0, timer: setTimeout(next, EVERY_MS) });
		this.#positions.set(key, id);
		this.request(`SEEN ${room} ${id} AS ${NAME}`).then((reply) => {
			if (reply?.ok === false && reply.code !== 'no-such-room') this.#isOn = false; // too many readers, or an older server
		});
	}
}
