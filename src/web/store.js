// What outlives a reload. Who one is, which rooms, how far one has read, drafts and what is not sent yet are this
// browser's, and its tabs share them: each room and each unsent line has a key of its own, so that no tab overwrites what
// another has kept. Private conversations are this tab's (what the server keeps of them comes again).

const PREFIX = 'plainchat.';

/** Keeps things while the page is open, where the browser keeps nothing for us. */
class Memory {
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

/** The storage of the browser, or one in memory where the person has blocked it. */
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
		return otherwise; // not written by us
	}
}

function save(storage, name, value) {
	try {
		if (value === undefined) storage.removeItem(PREFIX + name);
		else storage.setItem(PREFIX + name, JSON.stringify(value));
	} catch {
		// Full: the page works, and forgets.
	}
}

/** 128 bits that nobody can guess, as hexadecimal digits. */
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

	/** This browser's password, made when it is first needed. */
	get password() {
		const kept = load(this.browser, 'password', null);
		if (kept) return kept;
		const made = randomId();
		save(this.browser, 'password', made);
		return made;
	}

	/** What opens a server that has a password. */
	get pass() {
		return load(this.browser, 'pass', '');
	}
	set pass(pass) {
		save(this.browser, 'pass', pass);
	}

	/** All names below `part`, with their values. */
	#all(part) {
		const start = PREFIX + part;
		const names = Object.keys(this.browser).filter((key) => key.startsWith(start)).map((key) => key.slice(start.length));
		return names.map((name) => [name, load(this.browser, part + name, null)]).filter(([, value]) => value && typeof value === 'object');
	}

	/** `{room: newest id read}` of the rooms that one is in, in the order in which they were entered. */
	get rooms() {
		const old = load(this.browser, 'rooms', null); // all in one, as they were kept before
		if (old) {
			save(this.browser, 'rooms', undefined);
			Object.entries(old).forEach(([name, read], i) => this.keepRoom(name, read, i));
		}
		const rooms = this.#all('room.').sort(([, a], [, b]) => a.at - b.at);
		return Object.fromEntries(rooms.map(([name, { read }]) => [name, read]));
	}

	/** Keeps a room, and how far it was read: in whichever tab it was read furthest. */
	keepRoom(name, read, at = Date.now()) {
		const kept = load(this.browser, `room.${name}`, null);
		if (kept && kept.read >= read) return;
		save(this.browser, `room.${name}`, { read, at: kept?.at ?? at });
	}

	/** The log that was known is gone: what was read of it counts no more. */
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

	/** The newest of what was told and kept that was shown here; `null` before there was any. */
	get told() {
		return load(this.browser, 'told', null);
	}
	set told(id) {
		save(this.browser, 'told', id);
	}

	/** Whom one ignores, on every connection of this browser. */
	get ignored() {
		return load(this.browser, 'ignored', []);
	}
	set ignored(nicks) {
		save(this.browser, 'ignored', nicks.length ? nicks : undefined);
	}

	draft(name) {
		return load(this.browser, `draft.${name}`, '');
	}
	keepDraft(name, text) {
		save(this.browser, `draft.${name}`, text || undefined);
	}

	/** What is not sent yet, of all tabs: `{id, owner, …}`. The page that has the `owner`'s name sends it, and no other. */
	get lines() {
		return this.#all('out.').map(([id, line]) => ({ ...line, id }));
	}
	line(id) {
		return load(this.browser, `out.${id}`, null);
	}
	keepLine(id, line) {
		save(this.browser, `out.${id}`, line);
	}
	dropLine(id) {
		save(this.browser, `out.${id}`, undefined);
	}

	/** `{'bob': [items]}` */
	get private() {
		return load(this.tab, 'private', {});
	}
	set private(conversations) {
		save(this.tab, 'private', conversations);
	}

	/** Calls `act(name, value, old)` when another tab keeps something, or drops it (`null`). */
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
				// There was nothing to forget.
			}
		}
	}
}
