// The user's messages that the server has not acknowledged yet. They survive a broken connection and a reload, and are
// sent once: one that may have arrived is sent again only if it is not among the user's own replayed messages. Pure.

import { randomId } from './store.js';

let serial = 0;

function settleLost(entries) {
	for (const entry of entries) {
		if (entry.state !== 'sent') continue;
		entry.state = entry.to.startsWith('#') ? 'unsure' : 'failed';
		if (entry.state === 'failed') entry.error = 'The connection broke. This message may not have arrived.';
	}
}

/** `state`: waiting (never sent) → sent → gone; or unsure (sent, then the connection broke), or failed. */
export class Outbox {
	entries = [];

	/** @param {object[]} kept entries of a page that was reloaded: those that it had sent may have arrived. */
	constructor(kept = []) {
		this.adopt(kept);
	}

	/** Takes over the messages of another page. Those of this page do not change. */
	adopt(kept) {
		const adopted = kept.map((entry) => ({ ...entry, key: `o${++serial}` }));
		settleLost(adopted);
		this.entries.push(...adopted);
		this.entries.sort((a, b) => a.time - b.time);
	}

	/** `after` is the newest known id of the room: the message gets a later one. */
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

	/** Notes that the connection broke. A direct message is in no room's log, so nothing shows whether it arrived. */
	lost() {
		settleLost(this.entries);
	}

	/** Returns the id after which a room must be replayed to settle its unsure messages, or `undefined`. */
	unsureAfter(to) {
		const ids = this.of(to).filter((entry) => entry.state === 'unsure').map((entry) => entry.after);
		return ids.length ? Math.min(...ids) : undefined;
	}

	/** Settles the unsure messages of a replayed room: those among `own`, the user's events in it, have arrived. Returns these. */
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

	/** Follows a user or room that has a new name. */
	rename(from, to) {
		for (const entry of this.of(from)) entry.to = to;
	}
}
