// Sends the user's messages. Each message is saved until the server has acknowledged it. One tab of this browser
// sends it: the tab whose id is its `owner`. The messages of a tab that is gone are taken over by the other tabs.

import { Outbox } from './outbox.js';
import { refusal } from './refusals.js';
import { block, bytesOf, pieces, words } from './wire.js';

/** The number of bytes of a line that are left for `@nonce=…;reply=… `. */
const TAGS_BYTES = 80;

export class Sender {
	constructor(chat) {
		this.chat = chat;
		this.outbox = new Outbox(this.#claim((owner) => owner === null));
	}

	/** Sends a text to a room or user. `extra` is `{reply}`, the id of the message to which it replies. */
	send(room, text, verb = 'MSG', extra = {}) {
		const now = Date.now();
		const lines = verb === 'MSG' && this.chat.can.has('multiline') && block(text);
		if (lines) this.outbox.add(room.name, 'TEXT', lines.join('\n'), room.lastId, now, extra);
		else this.#addLines(room, text, verb, extra, now);
		room.newAfter = null;
		this.chat.keepNow();
		this.flush();
		this.chat.page.changed();
	}

	/** Adds a message for each line of a text. */
	#addLines(room, text, verb, extra, now) {
		const prefix = `TELL ${room.name} ${' '.repeat(TAGS_BYTES)}`;
		const [first, ...more] = pieces(text, prefix);
		this.outbox.add(room.name, verb, first, room.lastId, now, extra);
		for (const piece of more) this.outbox.add(room.name, verb, piece, room.lastId, now);
	}

	retry(entry) {
		this.outbox.retry(entry);
		this.flush();
		this.chat.page.changed();
	}

	discard(entry) {
		this.#done(entry);
		this.chat.keep();
		this.chat.page.changed();
	}

	lost() {
		this.outbox.lost();
	}

	/** Sends on a new connection what waits, and sends again what the last connection may not have delivered. */
	resume() {
		const { nick, can } = this.chat;
		this.outbox.resume(nick, Date.now(), can.has('nonce'));
		this.flush();
	}

	flush() {
		if (!this.chat.isReady) return;
		for (const entry of this.outbox.waiting()) this.#transmit(entry);
	}

	/** Removes a message that was sent or deleted. */
	#done(entry) {
		this.outbox.remove(entry);
		this.chat.store.dropLine(entry.id);
	}

	/** Returns the tags of a message, followed by a space. */
	#tags({ id, reply }) {
		const { can } = this.chat;
		const tags = [can.has('nonce') && `nonce=${id}`, reply && can.has('reply') && `reply=${reply}`].filter(Boolean);
		return tags.length ? `@${tags.join(';')} ` : '';
	}

	async #transmit(entry) {
		const { chat } = this;
		// This tab did not answer in time, so another tab has taken the message over and sends it. If the browser had no
		// space to save the message, no other tab knows it.
		if (entry.isKept && chat.store.line(entry.id)?.owner !== chat.tabs.id) return this.outbox.remove(entry);
		this.outbox.sent(entry, chat.nick, Date.now());
		this.#keepLine(entry);
		const { to, verb } = entry;
		if (verb === 'ME') chat.connection.request(`JOIN ${to}`); // ME goes to the current room
		chat.away.set(to, ''); // if the user is still away, the server says so before it answers
		const reply = await this.#request(entry);
		if (!reply) return; // `lost` has handled it
		if (reply.ok) {
			const [id, time, count] = words(reply.text, 3);
			this.#done(entry);
			chat.sent += 1;
			const room = chat.add(to);
			for (const event of this.#events(entry, Number(id) || null, Date.parse(time), Number(count))) room.push(event);
			chat.trim(room);
		} else if (reply.code === 'cut-off') {
			entry.state = 'waiting'; // it is sent again on the next connection
			return chat.connection.leave(reply);
		} else {
			entry.state = 'failed';
			entry.error = refusal(reply, { room: to });
			if (reply.code === 'no-such-id') delete entry.reply; // for a retry
		}
		chat.keep();
		chat.page.changed();
	}

	#request(entry) {
		const { to, verb, text } = entry;
		const { connection } = this.chat;
		const tags = this.#tags(entry);
		if (verb === 'ME') return connection.request(`${tags}ME ${text}`);
		if (verb === 'MSG') return connection.request(`${tags}TELL ${to} ${text}`);
		const bytes = bytesOf(text);
		return connection.request(`${tags}TEXT ${bytes.length} ${to}`, undefined, bytes);
	}

	/**
	 * Returns the events that a message has become, as others receive them. A text of `count` lines has become one
	 * event for each line.
	 */
	#events({ to, verb, text, reply }, id, time, count) {
		const { nick } = this.chat;
		if (verb !== 'TEXT') return [{ verb, room: to, nick, text, id, time, reply }];
		return text.split('\n').slice(0, count).map((line, i) => ({ verb: 'MSG', room: to, nick, text: line, id: id && id + i, time, ...(i ? { of: id ?? undefined } : { reply, count }) }));
	}

	// ---- the tabs of this browser

	/** Takes over the saved messages for whose owner `isFree` returns true. Returns them. */
	#claim(isFree) {
		const { store, tabs } = this.chat;
		const lines = store.lines.filter(({ owner }) => isFree(owner ?? null));
		for (const { id, ...line } of lines) store.keepLine(id, { ...line, owner: tabs.id });
		return lines.map((line) => ({ ...line, isKept: true }));
	}

	#keepLine(entry) {
		const { store, tabs } = this.chat;
		const { id, key, isKept, ...line } = entry;
		if (isKept && store.line(id)?.owner !== tabs.id) return;
		if (store.keepLine(id, { ...line, owner: tabs.id })) entry.isKept = true;
	}

	/** Saves all unsent messages. */
	keep() {
		for (const entry of this.outbox.entries) this.#keepLine(entry);
	}

	/** Sends the messages of tabs that are gone. */
	async adoptLost() {
		const { store, tabs } = this.chat;
		const owners = new Set(store.lines.map(({ owner }) => owner).filter((owner) => owner !== tabs.id));
		const gone = await tabs.gone([...owners].filter(Boolean));
		this.#adopt((owner) => owner === null || gone.has(owner));
	}

	#adopt(isFree) {
		const { chat } = this;
		if (chat.phase !== 'in') return;
		const lines = this.#claim(isFree);
		if (!lines.length) return;
		this.outbox.adopt(lines);
		for (const name of new Set(lines.map(({ to }) => to))) {
			const isNew = !chat.room(name);
			const room = chat.add(name);
			if (chat.isReady && !room.isPrivate && isNew) chat.join(room);
		}
		if (chat.isReady) this.resume();
		chat.page.changed();
	}

	/** Applies the change of a saved message by another tab. `value` is `null` if that tab has sent it. */
	elsewhere(id, value) {
		if (value && !value.owner) setTimeout(() => this.#adopt((owner) => owner === null), 1000);
		else if (value?.owner !== this.chat.tabs.id) this.outbox.entries = this.outbox.entries.filter((entry) => entry.id !== id);
	}

	/** Releases this page's unsent messages as the user leaves it, so that the next page or another tab can send them. */
	release() {
		const { chat } = this;
		chat.keepNow();
		for (const { id, owner, ...line } of chat.store.lines) {
			if (owner === chat.tabs.id) chat.store.keepLine(id, { ...line, owner: null });
		}
	}

	/** Takes back the released messages that no other tab has taken, when the user returns to a cached page. */
	reclaim() {
		const mine = new Set(this.#claim((owner) => owner === null).map(({ id }) => id));
		for (const entry of this.outbox.entries) if (!mine.has(entry.id)) this.outbox.remove(entry);
		this.chat.page.changed();
	}
}
