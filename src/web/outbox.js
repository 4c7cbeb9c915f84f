// The user's messages that the server has not acknowledged yet. They survive a broken connection and a reload. The
// `id` of each is its nonce: the server accepts a message with this nonce only once, however often it is sent. Pure.

import { randomId } from './store.js';

/**
 * A server remembers a nonce for ten minutes (protocol.md §4.35). A message that was sent longer ago might be
 * accepted twice.
 */
const NONCE_MS = 9 * 60_000;

const UNSURE = 'The connection broke. This message may not have arrived.';

let serial = 0;

/**
 * Returns whether the server logs a message. It logs those to rooms, and those between two registered users: then
 * `after` is the newest id of their conversation.
 */
const isLogged = ({ to, after }) => to.startsWith('#') || after > 0;

const fail = (entry) => Object.assign(entry, { state: 'failed', error: UNSURE });

function settleLost(entries) {
	for (const entry of entries) {
		if (entry.state !== 'sent') continue;
		if (isLogged(entry)) entry.state = 'unsure';
		else fail(entry);
	}
}

/**
 * The messages that are not acknowledged. `state`: waiting → sent → gone; or unsure (sent, then the connection
 * broke), then waiting again or failed.
 */
export class Outbox {
	entries = [];

	/** @param {object[]} kept entries of a page that was reloaded: those that it had sent may have arrived. */
	constructor(kept = []) {
		this.adopt(kept);
	}

	/** Takes over the messages of another page. The messages of this page are not changed. */
	adopt(kept) {
		const adopted = kept.map((entry) => ({ ...entry, key: `o${++serial}` }));
		settleLost(adopted);
		this.entries.push(...adopted);
		this.entries.sort((a, b) => a.time - b.time);
	}

	/**
	 * Adds a message. `after` is the newest known id of the conversation; `extra` contains other fields of the message,
	 * as `{reply}`.
	 */
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

	/** Records that `nick` has sent an entry. The server remembers a nonce for the nick that used it first. */
	sent(entry, nick, now) {
		entry.state = 'sent';
		entry.by ??= nick;
		entry.sentAt ??= now;
	}

	/** Prepares an entry to be sent again, because the user has requested that. */
	retry(entry) {
		Object.assign(entry, { state: 'waiting', by: undefined, sentAt: undefined });
	}

	/** Notes that the connection broke. */
	lost() {
		settleLost(this.entries);
	}

	/**
	 * Decides what to do with the unsure messages on a new connection. Those that the server would recognise are sent
	 * again.
	 */
	resume(nick, now, hasNonces) {
		for (const entry of this.entries.filter(({ state }) => state === 'unsure')) {
			if (hasNonces && entry.by === nick && now - entry.sentAt < NONCE_MS) entry.state = 'waiting';
			else fail(entry);
		}
	}

	/** Applies a new name of a user or room. */
	rename(from, to) {
		for (const entry of this.of(from)) entry.to = to;
	}
}
