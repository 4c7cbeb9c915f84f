// A room, or a conversation with one user, as this page knows it. Pure.
//
// `items` is a window on the room's log: everything that can be shown with an id from `lo` to `hi`, in order. While
// the window is open (`atEnd`), live events are appended to it. It is closed when the user has scrolled up so far
// that the newest items were dropped. Scrolling down, or one click, loads them again. So the page holds a limited
// number of messages, however long the room's log is and however many messages arrive.

import { joined } from './blocks.js';
import { Quotes, edited } from './quotes.js';
import { isKnown, reacted } from './reactions.js';

/**
 * The number of items that are kept while the user is elsewhere or at the end, unless the page wants fewer; and the
 * maximum number while the user reads further up.
 */
export const ITEMS_KEPT = 300;
export const ITEMS_MAX = 400;

/** The number of events that are requested at once. */
export const PAGE = 100;

/**
 * The number of live events that are kept while the window is closed, to continue a page of history that reaches
 * them.
 */
const TAIL_MAX = 500;

/**
 * The maximum delay with which the server announces a join. A user who has written since the join needs no
 * announcement.
 */
const JOINED_MS = 5000;

/**
 * The maximum number of remembered ids of messages whose reactions have changed while the messages were not loaded. A
 * message that comes from the log later may not contain the change yet.
 */
const REACTED_MAX = 100;

/** The number of ids of deleted messages that are remembered. */
const REMOVED_MAX = 10_000;

const SHOWN = new Set(['MSG', 'ME', 'FILE', 'TOPIC']);
const COUNTED = new Set(['MSG', 'ME', 'FILE']);

let serial = 0;

const keyOf = ({ id }) => (id ? `m${id}` : `x${++serial}`);

export class Room {
	constructor(name) {
		this.name = name;
		this.isPrivate = !name.startsWith('#');
		this.topic = '';
		this.members = new Map(); // folded nick → nick
		this.joined = false;
		this.isClosed = false; // invite-only
		this.shut = ''; // why the user cannot join, or ''
		this.lastRead = 0; // the newest id that the user has seen
		this.unread = 0;
		this.mentions = 0;
		this.newAfter = null; // the "New" line is after this id
		this.removed = new Set();
		this.unfolded = new Set(); // keys of long messages that are shown as a whole
		this.quotes = new Quotes();
		this.reactedTo = new Set(); // ids of messages that are not loaded
		this.connections = 0; // how often the connection has broken
		this.stored = new Map(); // file → length, of files that were uploaded live
		this.loading = null;
		this.files = 0; // how often its files have changed since it was joined
		this.reset(0);
		this.atStart = this.isPrivate;
	}

	/** Empties the window. Nothing is loaded before `lastId`. */
	reset(lastId) {
		this.items = [];
		this.lo = lastId + 1;
		this.hi = lastId;
		this.lastId = lastId;
		this.atStart = false;
		this.atEnd = true;
		this.tail = [];
	}

	#toItem(event) {
		const isUnsure = this.reactedTo.has(event.id);
		return { ...event, key: keyOf(event), connection: this.connections, isUnsure };
	}

	/**
	 * Adds or removes a reaction. A message that was loaded after the connection was made already has the reactions of
	 * the log, in its tag.
	 */
	#react(event) {
		const item = this.items.find(({ id }) => id === event.target);
		if (!item) {
			this.reactedTo.add(event.target);
			if (this.reactedTo.size > REACTED_MAX) this.reactedTo.delete(this.reactedTo.values().next().value);
		} else if (event.kind === 'live' || item.connection < this.connections) {
			this.setReacts(event.target, reacted(item.reacts ?? [], event));
		}
	}

	setReacts(id, reacts) {
		this.#change(id, (item) => ({ ...item, reacts, isUnsure: false }));
	}

	/** Returns whether the page must request who has reacted to a message. */
	needsReacts({ id, reacts, isUnsure }) {
		return Boolean(id) && (isUnsure || !isKnown(reacts ?? []));
	}

	/** Applies what an event changes in other items. Returns whether the event itself is shown. */
	#note(event) {
		if (event.verb === 'REMOVE') this.remove(event.target);
		if (['FILE', 'STORED', 'REMOVE'].includes(event.verb)) this.files += 1;
		if (event.verb === 'STORED') this.stored.set(event.file, event.size);
		if (event.verb === 'EDIT') this.#edit(event);
		return SHOWN.has(event.verb);
	}

	#edit({ target, text, time }) {
		this.#change(target, (item) => edited(item, text, time));
		this.quotes.edit(target, text, time);
	}

	#change(id, change) {
		const at = this.items.findIndex((item) => item.id === id);
		if (at >= 0) this.items[at] = change(this.items[at]);
	}

	/** Records that a message was deleted. */
	remove(id) {
		this.removed.add(id);
		if (this.removed.size > REMOVED_MAX) this.removed.delete(this.removed.keys().next().value);
	}

	/** Returns a loaded message, or one that was requested because another one replies to it; `null` if there is none. */
	message(id) {
		return this.items.find((item) => item.id === id) ?? this.quotes.get(id);
	}

	/**
	 * Returns whether an event is known. The events of a room arrive in the order of their ids. Those of a conversation
	 * may not, because the reply to the user's own message can be late.
	 */
	#has(id) {
		return this.isPrivate ? this.items.some((item) => item.id === id) : id <= this.lastId;
	}

	/** Adds a live or replayed event. Returns whether it is new. */
	push(event) {
		if (event.id) {
			if (this.#has(event.id)) return false;
			this.lastId = Math.max(this.lastId, event.id);
			if (event.verb === 'REACT' || event.verb === 'UNREACT') this.#react(event);
			if (!this.atEnd || this.loading === 'newer' || this.loading === 'around') {
				this.tail.push(event);
				if (this.tail.length > TAIL_MAX) this.tail.shift();
			}
		}
		// The user reads far above, so new messages are only counted. They are loaded when they are shown.
		if (this.items.length >= ITEMS_MAX && !this.isPrivate) this.atEnd = false;
		if (!this.atEnd) {
			this.#note(event);
			return true;
		}
		if (event.id) this.hi = this.lastId;
		if (event.verb === 'JOIN' || event.verb === 'PART' || event.verb === 'NICK') this.#presence(event);
		else if (this.#note(event)) this.items.push(this.#toItem(event));
		return true;
	}

	/** Adds an event of the user's own that the server sends only to others, unless it is known. */
	insert(event) {
		if (!this.#has(event.id)) return void this.push(event);
		if (!this.atEnd || event.id < this.lo || this.message(event.id)) return;
		const at = this.items.findLastIndex(({ id }) => id && id < event.id) + 1;
		this.items.splice(at, 0, this.#toItem(event));
	}

	/** Adds a join, leave or rename to the row above, if that row contains only such events too. */
	#presence(event) {
		const last = this.items.at(-1);
		const spoke = ({ verb, nick, time }) => COUNTED.has(verb) && nick === event.nick && Math.abs(event.time - time) < JOINED_MS;
		const left = ({ events }) => events?.findLast(({ nick }) => nick === event.nick)?.verb === 'PART';
		const recent = this.items.slice(-5);
		if (event.verb === 'JOIN' && recent.slice(recent.findLastIndex(left) + 1).some(spoke)) return;
		if (last?.verb === 'PRESENCE') {
			const events = [...last.events, event].slice(-1000);
			this.items[this.items.length - 1] = { ...last, events };
		} else {
			this.items.push({ ...this.#toItem(event), verb: 'PRESENCE', events: [event] });
		}
	}

	/** Adds a notice, for example that messages are missing. */
	notice(text) {
		if (this.atEnd) this.items.push(this.#toItem({ verb: 'NOTE', text, time: null, id: null }));
	}

	/** Restores what this browser has saved of a conversation. */
	restore(items) {
		// These items are older than any connection: items that come from the log later do not contain their changes.
		this.items = items.map((event) => ({ ...this.#toItem(event), connection: -1 }));
		this.lastId = Math.max(0, ...items.map(({ id }) => id));
	}

	/** Removes the messages that the server has not saved. */
	dropUnsaved() {
		this.restore(this.items.filter(({ id }) => id));
	}

	/** Adds a page of history before `lo`. */
	prepend(events, isWhole) {
		const older = events.filter((event) => event.id < this.lo);
		if (older.length) this.lo = older[0].id;
		this.items.unshift(...older.filter((event) => this.#note(event)).map((event) => this.#toItem(event)));
		this.atStart = isWhole;
	}

	/** Adds a page of history after `hi`. After the last page, the window is open again, and live events continue it. */
	append(events, isWhole) {
		const newer = events.filter((event) => event.id > this.hi);
		if (newer.length) this.hi = newer.at(-1).id;
		this.items.push(...newer.filter((event) => this.#note(event)).map((event) => this.#toItem(event)));
		if (!isWhole) return;
		const missed = this.tail.filter((event) => event.id > this.hi);
		if (this.tail.length === TAIL_MAX && missed.length === TAIL_MAX) return; // some may have been dropped: load on
		this.items.push(...missed.filter((event) => this.#note(event)).map((event) => this.#toItem(event)));
		this.hi = Math.max(this.hi, this.lastId);
		this.atEnd = true;
		this.tail = [];
	}

	/** Moves the window to another place in the log, where the pages `before` and `after` meet. */
	place(before, after, startsThere, endsThere) {
		const { lastId } = this;
		const events = [...before, ...after];
		const tail = this.tail;
		this.reset(lastId);
		this.tail = tail;
		this.atEnd = false;
		this.lo = events[0]?.id ?? lastId + 1;
		this.hi = this.lo - 1;
		this.append(events, endsThere);
		this.atStart = startsThere;
	}

	/** Drops the oldest items while the user is at the end, so that `kept` items remain. */
	trimTop(kept) {
		if (this.items.length <= kept) return;
		this.items.splice(0, this.items.length - kept);
		if (this.isPrivate) return;
		const first = this.items.find((item) => item.id);
		this.lo = first ? first.id : this.hi + 1;
		this.atStart = false;
	}

	/** Drops the newest items while the user is far above them, and closes the window. */
	trimBottom() {
		if (this.items.length <= ITEMS_MAX || this.isPrivate) return;
		this.items.length = ITEMS_MAX - PAGE;
		while (this.items.length && !this.items.at(-1).id) this.items.pop();
		this.hi = this.items.at(-1)?.id ?? this.hi;
		this.atEnd = false;
	}

	/** Returns whether the user has read a message on another device. */
	hasRead({ id }) {
		return !this.isPrivate && Boolean(id) && id <= this.lastRead;
	}

	/** Counts a message of another user as unread. A text of several lines counts once. */
	count(event, isMention) {
		if (!COUNTED.has(event.verb) || this.hasRead(event)) return;
		if (!this.unread) this.newAfter = this.lastRead;
		const isNext = event.of && this.unread; // a further line of a text
		if (!isNext) this.unread += 1;
		if (this.isPrivate ? !isNext : isMention) this.mentions += 1;
	}

	/** Counts the loaded messages after `lastRead`, after the page has been opened. */
	recount(isOwn, isMention) {
		const unseen = this.items.filter((item) => item.id > this.lastRead && COUNTED.has(item.verb) && !isOwn(item));
		this.unread = joined(unseen).length;
		this.mentions = unseen.filter(isMention).length;
		this.newAfter = this.unread ? this.lastRead : null;
	}

	/** Marks everything as read. Returns whether that changes anything. */
	read() {
		if (!this.unread && this.lastRead >= this.lastId) return false;
		this.lastRead = Math.max(this.lastRead ?? 0, this.lastId);
		this.unread = 0;
		this.mentions = 0;
		return true;
	}

	isRemoved(item) {
		return item.isRemoved || this.removed.has(item.id) || this.removed.has(item.of);
	}
}
