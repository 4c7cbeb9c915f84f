// The data that survives a reload. The tabs of a browser share the user's name, rooms, read positions, drafts and
// unsent messages. Each room and each unsent message has a key of its own, so that no tab overwrites what another has
// saved. The server sends the direct messages that it has saved. Others are kept here, until the user deletes them.

import { FIRST } from './emoji.js';

const PREFIX = 'plainchat.';

/** A storage that lasts until the page is closed, for a browser that does not let the page store anything. */
export class Memory {
	getItem(key) {
		return Object.hasOwn(this, key) ? this[key] : null;
	}
	setItem(key, value) {
		this[key] = value;
	}
	removeItem(key) {
		delete this[key];
	}
}

/** Returns the browser's storage, or one in memory if the user has blocked that. */
function storageOf(name) {
	try {
		const storage = globalThis[name];
		storage.getItem(PREFIX);
		return storage;
	} catch {
		return new Memory();
	}
}

function load(storage, name, otherwise) {
	try {
		return JSON.parse(storage.getItem(PREFIX + name)) ?? otherwise;
	} catch {
		return otherwise; // not written by this page
	}
}

/** Returns whether the value was saved. If the storage is full, the page works, but forgets the value. */
function save(storage, name, value) {
	try {
		if (value === undefined) storage.removeItem(PREFIX + name);
		else storage.setItem(PREFIX + name, JSON.stringify(value));
		return true;
	} catch {
		return false;
	}
}

/** Returns 128 random bits as hexadecimal digits. */
export function randomId() {
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Store {
	constructor(browser = storageOf('localStorage'), tab = storageOf('sessionStorage')) {
		this.browser = browser;
		this.tab = tab;
	}

	get me() {
		return load(this.browser, 'me', null);
	}
	set me(me) {
		save(this.browser, 'me', me ?? undefined);
	}

	/** The password of this browser. It is created when it is first needed. */
	get password() {
		const kept = load(this.browser, 'password', null);
		if (kept) return kept;
		const made = randomId();
		save(this.browser, 'password', made);
		return made;
	}

	/** The password of the server, if it has one. */
	get pass() {
		return load(this.browser, 'pass', '');
	}
	set pass(pass) {
		save(this.browser, 'pass', pass);
	}

	/** Returns all names that begin with `part`, with their values. */
	#all(part) {
		const start = PREFIX + part;
		const names = Object.keys(this.browser).filter((key) => key.startsWith(start)).map((key) => key.slice(start.length));
		return names.map((name) => [name, load(this.browser, part + name, null)]).filter(([, value]) => value && typeof value === 'object');
	}

	/** The user's rooms, `{room: newest id that was read}`, in the order in which they were joined. */
	get rooms() {
		const old = load(this.browser, 'rooms', null); // how an older page saved them
		if (old) {
			save(this.browser, 'rooms', undefined);
			Object.entries(old).forEach(([name, read], i) => this.keepRoom(name, read, i));
		}
		const rooms = this.#all('room.').sort(([, a], [, b]) => a.at - b.at);
		return Object.fromEntries(rooms.map(([name, { read }]) => [name, read]));
	}

	/** Saves a room and its read position, unless another tab has read further. */
	keepRoom(name, read, at = Date.now()) {
		const kept = load(this.browser, `room.${name}`, null);
		if (kept && kept.read >= read) return;
		save(this.browser, `room.${name}`, { read, at: kept?.at ?? at });
	}

	/** Sets the read position of a room whose log has been replaced. */
	resetRoom(name, read) {
		const kept = load(this.browser, `room.${name}`, null);
		if (kept) save(this.browser, `room.${name}`, { ...kept, read });
	}

	hasRoom(name) {
		return load(this.browser, `room.${name}`, null) !== null;
	}

	dropRoom(name) {
		save(this.browser, `room.${name}`, undefined);
	}

	/** The id of the newest saved direct message that this browser has shown; `null` if there is none. */
	get told() {
		return load(this.browser, 'told', null);
	}
	set told(id) {
		save(this.browser, 'told', id);
	}

	/** Whether this browser is notified while the page is closed. */
	get isPushed() {
		return load(this.browser, 'push', false);
	}
	set isPushed(isPushed) {
		save(this.browser, 'push', isPushed || undefined);
	}

	/** Whether a mention or direct message plays a sound. */
	get hasSound() {
		return load(this.browser, 'sound', false);
	}
	set hasSound(hasSound) {
		save(this.browser, 'sound', hasSound || undefined);
	}

	/** Whether the user has answered the offer to register the name. */
	get isOffered() {
		return load(this.browser, 'offered', false);
	}
	set isOffered(isOffered) {
		save(this.browser, 'offered', isOffered || undefined);
	}

	/** The nicks that the user ignores. */
	get ignored() {
		return load(this.browser, 'ignored', []);
	}
	set ignored(nicks) {
		save(this.browser, 'ignored', nicks.length ? nicks : undefined);
	}

	/** The emoji that the user has chosen most recently. */
	get emoji() {
		return [...new Set([...load(this.browser, 'emoji', []), ...FIRST])].slice(0, FIRST.length);
	}
	addEmoji(emoji) {
		save(this.browser, 'emoji', [emoji, ...this.emoji.filter((other) => other !== emoji)].slice(0, FIRST.length));
	}

	draft(name) {
		return load(this.browser, `draft.${name}`, '');
	}
	keepDraft(name, text) {
		save(this.browser, `draft.${name}`, text || undefined);
	}

	/** The unsent messages of all tabs: `{id, owner, …}`. Only the tab with the id `owner` sends a message. */
	get lines() {
		return this.#all('out.').map(([id, line]) => ({ ...line, id }));
	}
	line(id) {
		return load(this.browser, `out.${id}`, null);
	}
	/** Returns whether the message was saved. */
	keepLine(id, line) {
		return save(this.browser, `out.${id}`, line);
	}
	dropLine(id) {
		save(this.browser, `out.${id}`, undefined);
	}

	/** The conversations of this tab, with only the messages that the server has saved: `{'bob': [items]}`. */
	get private() {
		return load(this.tab, 'private', {});
	}
	set private(conversations) {
		save(this.tab, 'private', conversations);
	}

	/** The kept conversations of all the user's nicks: `[[key, items]]`. A key is `own other`, two folded nicks. */
	get talks() {
		return this.#all('talk.');
	}
	talk(key) {
		return load(this.browser, `talk.${key}`, []);
	}
	keepTalk(key, items) {
		save(this.browser, `talk.${key}`, items);
	}
	dropTalk(key) {
		save(this.browser, `talk.${key}`, undefined);
	}
	/** Deletes a conversation. An empty one tells the other tabs that the user has deleted it. */
	deleteTalk(key) {
		this.keepTalk(key, []);
		this.dropTalk(key);
	}

	/** Calls `act(name, value, old)` when another tab saves or removes something. `value` is `null` if it was removed. */
	watch(act) {
		const value = (text) => {
			try {
				return JSON.parse(text);
			} catch {
				return null;
			}
		};
		globalThis.addEventListener?.('storage', ({ key, newValue, oldValue, storageArea }) => {
			if (storageArea === this.browser && key?.startsWith(PREFIX)) act(key.slice(PREFIX.length), value(newValue), value(oldValue));
		});
	}

	forget() {
		for (const storage of [this.browser, this.tab]) {
			try {
				for (const key of Object.keys(storage)) if (key.startsWith(PREFIX)) storage.removeItem(key);
			} catch {
				// Nothing was stored.
			}
		}
	}
}
