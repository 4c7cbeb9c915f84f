// What was said here and is not answered yet. It survives a broken connection and a reload, and is said once:
// a line that may have arrived is said again only if no replayed line of one's own carries it. Pure.

import { randomId } from './store.js';

let serial = 0;

function settleLost(entries) {
	for (const entry of entries) {
		if (entry.state !== 'sent') continue;
		entry.state = entry.to.startsWith('#') ? 'unsure' : 'failed';
		if (entry.state === 'failed') entry.error = 'The connection broke: this may not have arrived.';
	}
}

/** `state`: waiting (never sent) → sent → gone; or unsure (sent, then the connection broke), or failed. */
export class Outbox {
	entries = [];

	/** @param {object[]} kept entries of a page that was reloaded: what it had sent may have arrived. */
	constructor(kept = []) {
		this.adopt(kept);
	}

	/** Takes what another page has left. Its own that are under way here are not touched. */
	adopt(kept) {
		const adopted = kept.map((entry) => ({ ...entry, key: `o${++serial}` }));
		settleLost(adopted);
		this.entries.push(...adopted);
		this.entries.sort((a, b) => a.time - b.time);
	}

	/** `after`: the newest id that was known of the room; whatever carries this line comes after it. */
	add(to, verb, text, after, time) {
		const entry = { id: randomId(), key: `o${++serial}`, to, verb, text, after, time, state: 'waiting' };
		this.entries.push(entry);
		return entry;
	}

	remove(entry) {
		this.entries = this.entries.filter((other) => other !== entry);
	}

	of(to) {
		return this.entries.filter((entry) => entry.to === to);
	}

	waiting() {
		return this.entries.filter((entry) => entry.state === 'waiting');
	}

	/** The connection broke. What is told to one person is not in any log, so nobody can look whether it arrived. */
	lost() {
		settleLost(this.entries);
	}

	/** From which id a room has to be replayed to settle what is unsure there, or `undefined`. */
	unsureAfter(to) {
		const ids = this.of(to).filter((entry) => entry.state === 'unsure').map((entry) => entry.after);
		return ids.length ? Math.min(...ids) : undefined;
	}

	/** A room has been replayed; `own` are the events of one's own in it. What is among them has arrived, and is given back. */
	settle(to, own) {
		const left = [...own];
		const arrived = [];
		for (const entry of this.of(to).filter((entry) => entry.state === 'unsure')) {
			const at = left.findIndex((e) => e.id > entry.after && e.verb === entry.verb && e.text === entry.text);
			if (at < 0) {
				entry.state = 'waiting';
			} else {
				left.splice(at, 1);
				this.remove(entry);
				arrived.push(entry);
			}
		}
		return arrived;
	}

	/** A person or room is called otherwise now. */
	rename(from, to) {
		for (const entry of this.of(from)) entry.to = to;
	}
}
