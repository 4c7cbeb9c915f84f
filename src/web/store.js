// What outlives a reload. Who one is, which rooms, how far one has read, and drafts are this browser's; what is on its
// way and private conversations are this tab's, and go when it is closed (what the server keeps of them comes again).

const PREFIX = 'plainchat.';

function load(storage, name, otherwise) {
	try {
		return JSON.parse(storage.getItem(PREFIX + name)) ?? otherwise;
	} catch {
		return otherwise; // storage that is switched off, or not written by us
	}
}

function save(storage, name, value) {
	try {
		if (value === undefined) storage.removeItem(PREFIX + name);
		else storage.setItem(PREFIX + name, JSON.stringify(value));
	} catch {
		// Full or switched off: the page works, and forgets.
	}
}

/** Nobody has to think of it, and nobody can guess it: 128 bits that guard the nick. */
function newPassword() {
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Store {
	constructor(browser = globalThis.localStorage, tab = globalThis.sessionStorage) {
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
		const made = newPassword();
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

	/** `{room: newest id read}` of the rooms that one is in, in their order. */
	get rooms() {
		return load(this.browser, 'rooms', {});
	}
	set rooms(rooms) {
		save(this.browser, 'rooms', rooms);
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

	get outbox() {
		return load(this.tab, 'outbox', []);
	}
	set outbox(entries) {
		save(this.tab, 'outbox', entries.length ? entries : undefined);
	}

	/** `{'bob': [items]}` */
	get private() {
		return load(this.tab, 'private', {});
	}
	set private(conversations) {
		save(this.tab, 'private', conversations);
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
