// The user's messages that the server has not acknowledged yet. They survive a broken connection and a reload. Each has a
// nonce, its `id`, under which the server accepts it once, however often it is sent. Pure.

import { randomId } from './store.js';

/** A server remembers a nonce for ten minutes (protocol.md §4.35). What was sent longer ago might be accepted twice. */
const NONCE_MS = 9 * 60_000;

const UNSURE = 'The connection broke. This message may not have arrived.';

let serial = 0;

/** The server logs what is sent to a room, and between two registered users: then the newest id is known. */
const isLogged = ({ to, after }) => to.startsWith('#') || after > 0;

const fail = (entry) => Object.assign(entry, { state: 'failed', error: UNSURE });

function settleLost(entries) {
	for (const entry of entries) {
		if (entry.state !== 'sent') continue;
		if (isLogged(entry)) entry.state = 'unsure';
		else fail(entry);
	}
}

/** `state`: waiting → sent → gone; or unsure (sent, then the connection broke), then waiting again or failed. */
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

	/** `after` is the newest known id of the conversation; `extra` is what else belongs to the message, as `{reply}`. */
	add(to, verb, text, after, time, extra = {}) {
		const entry = { id: randomId(), key: `o${++serial}`, to, verb, text, after, time, state: 'waiting', ...extra };
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

	/** Notes that an entry is sent by `nick`; a nonce is remembered for that nick, from the first time on. */
	sent(entry, nick, now) {
		entry.state = 'sent';
		entry.by ??= nick;
		entry.sentAt ??= now;
	}

	/** Prepares an entry to be sent once more because the user wants that. */
	retry(entry) {
		Object.assign(entry, { state: 'waiting', by: undefined, sentAt: undefined });
	}

	/** Notes that the connection broke. */
	lost() {
		settleLost(this.entries);
	}

	/** Decides about the unsure messages on a new connection: those that the server would recognise are sent again. */
	resume(nick, now, hasNonces) {
		for (const entry of this.entries.filter(({ state }) => state === 'unsure')) {
			if (hasNonces && entry.by === nick && now - entry.sentAt < NONCE_MS) entry.state = 'waiting';
			else fail(entry);
		}
	}

	/** Follows a user or room that has a new name. */
	rename(from, to) {
		for (const entry of this.of(from)) entry.to = to;
	}
}
