// A room, or a conversation with one person, as this page knows it. Pure.
//
// `items` is a window on the room's log: everything that can be shown with an id from `lo` to `hi`, in order. It is
// open at its end (`atEnd`) while live events are appended to it, and closed when somebody has scrolled so far up
// that the newest were let go; scrolling down, or one click, fetches them again. So the page holds a bounded number of
// messages however long the room is, and however much arrives.

/** Items kept while nobody looks, or while one looks at the end unless the page wants fewer; and at most while one reads
 * above it. */
export const ITEMS_KEPT = 300;
export const ITEMS_MAX = 600;

/** Events that are asked for at once. */
export const PAGE = 100;

/** Live events remembered while the window is closed, to be joined to a page of history that meets them. */
const TAIL_MAX = 500;

/** Whoever speaks so soon before the server announces them is not announced. */
const JOINED_MS = 5000;

const SHOWN = new Set(['MSG', 'ME', 'FILE', 'TOPIC']);
const COUNTED = new Set(['MSG', 'ME', 'FILE']);

let serial = 0;

const toItem = (event) => ({
	...event,
	key: event.id ? `m${event.id}` : `x${++serial}`,
});

export class Room {
	constructor(name) {
		this.name = name;
		this.isPrivate = !name.startsWith('#');
		this.topic = '';
		this.members = new Map(); // folded nick → nick
		this.joined = false;
		this.isClosed = false; // for invited people only
		this.shut = ''; // why the server does not let us in, although we want to be in
		this.lastRead = 0; // newest id that was seen by the person
		this.unread = 0;
		this.mentions = 0;
		this.newAfter = null; // the "new" line stands after this id
		this.removed = new Set();
		this.stored = new Map(); // file → length, for those that came in live
		this.loading = null;
		this.files = 0; // how often its files have changed since it was entered
		this.reset(0);
		this.atStart = this.isPrivate;
	}

	/** Forgets what is loaded; the log is known up to `lastId`, and nothing of it is in the window. */
	reset(lastId) {
		this.items = [];
		this.lo = lastId + 1;
		this.hi = lastId;
		this.lastId = lastId;
		this.atStart = false;
		this.atEnd = true;
		this.tail = [];
	}

	/** Notes what an event tells about others, and whether it is shown itself. */
	#note(event) {
		if (event.verb === 'REMOVE') this.removed.add(event.target);
		if (['FILE', 'STORED', 'REMOVE'].includes(event.verb)) this.files += 1;
		if (event.verb === 'STORED') this.stored.set(event.file, event.size);
		return SHOWN.has(event.verb);
	}

	/** Whether an event has come. A room's come in the order of their ids; of a conversation, what one is told and the
	 * answer to what one tells come as they come. */
	#has(id) {
		return this.isPrivate ? this.items.some((item) => item.id === id) : id <= this.lastId;
	}

	/** A live or resumed event. Gives `true` if it is new: each comes once, however often it is sent. */
	push(event) {
		if (event.id) {
			if (this.#has(event.id)) return false;
			this.lastId = Math.max(this.lastId, event.id);
			if (!this.atEnd || this.loading === 'newer' || this.loading === 'around') {
				this.tail.push(event);
				if (this.tail.length > TAIL_MAX) this.tail.shift();
			}
		}
		// Somebody reads far above: what arrives is counted, and fetched when it is looked at.
		if (this.items.length >= ITEMS_MAX && !this.isPrivate) this.atEnd = false;
		if (!this.atEnd) {
			this.#note(event);
			return true;
		}
		if (event.id) this.hi = this.lastId;
		if (event.verb === 'JOIN' || event.verb === 'PART' || event.verb === 'NICK') this.#presence(event);
		else if (this.#note(event)) this.items.push(toItem(event));
		return true;
	}

	/** Who comes and goes is one quiet line, as long as nothing else happens. */
	#presence(event) {
		const last = this.items.at(-1);
		// The server says who has joined a moment late: somebody who has spoken by then is seen already.
		const spoke = ({ nick, time }) => nick === event.nick && Math.abs(event.time - time) < JOINED_MS;
		if (event.verb === 'JOIN' && this.items.slice(-5).some(spoke)) return;
		if (last?.verb === 'PRESENCE') {
			const events = [...last.events, event].slice(-1000);
			this.items[this.items.length - 1] = { ...last, events };
		} else {
			this.items.push({ ...toItem(event), verb: 'PRESENCE', events: [event] });
		}
	}

	/** Something that nobody has said: a hole in the log, a word from the server. */
	notice(text) {
		if (this.atEnd) this.items.push(toItem({ verb: 'NOTE', text, time: null, id: null }));
	}

	/** What this tab has kept of a private conversation. */
	restore(items) {
		this.items = items.map(toItem);
		this.lastId = Math.max(0, ...items.map(({ id }) => id));
	}

	/** A page of history before `lo`, as it was asked for. */
	prepend(events, isWhole) {
		const older = events.filter((event) => event.id < this.lo);
		if (older.length) this.lo = older[0].id;
		this.items.unshift(...older.filter((event) => this.#note(event)).map(toItem));
		this.atStart = isWhole;
	}

	/** A page of history after `hi`; with the last one the window is open again, and what came meanwhile follows. */
	append(events, isWhole) {
		const newer = events.filter((event) => event.id > this.hi);
		if (newer.length) this.hi = newer.at(-1).id;
		this.items.push(...newer.filter((event) => this.#note(event)).map(toItem));
		if (!isWhole) return;
		const missed = this.tail.filter((event) => event.id > this.hi);
		if (this.tail.length === TAIL_MAX && missed.length === TAIL_MAX) return; // some may have been let go: fetch on
		this.items.push(...missed.filter((event) => this.#note(event)).map(toItem));
		this.hi = Math.max(this.hi, this.lastId);
		this.atEnd = true;
		this.tail = [];
	}

	/** The window moves to a place in the log: `events` reach from the first to the last id around it. */
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

	/** Lets the oldest go, down to `kept`: whoever reads at the end does not look there. */
	trimTop(kept) {
		if (this.items.length <= kept) return;
		this.items.splice(0, this.items.length - kept);
		if (this.isPrivate) return;
		const first = this.items.find((item) => item.id);
		this.lo = first ? first.id : this.hi + 1;
		this.atStart = false;
	}

	/** Lets the newest go, for one who reads at the top of so many; the window is closed then. */
	trimBottom() {
		if (this.items.length <= ITEMS_MAX || this.isPrivate) return;
		this.items.length = ITEMS_MAX - PAGE;
		while (this.items.length && !this.items.at(-1).id) this.items.pop();
		this.hi = this.items.at(-1)?.id ?? this.hi;
		this.atEnd = false;
	}

	/** Adds to the counts what somebody else said. */
	count(event, isMention) {
		if (!COUNTED.has(event.verb)) return;
		if (!this.unread) this.newAfter = this.lastRead;
		this.unread += 1;
		if (isMention || this.isPrivate) this.mentions += 1;
	}

	/** Counts again from what is loaded, after a fresh start with a place that was remembered. */
	recount(isOwn, isMention) {
		const unseen = this.items.filter((item) => item.id > this.lastRead && COUNTED.has(item.verb) && !isOwn(item));
		this.unread = unseen.length;
		this.mentions = unseen.filter(isMention).length;
		this.newAfter = this.unread ? this.lastRead : null;
	}

	/** The person has seen all of it. Gives `true` if that changes something. */
	read() {
		if (!this.unread && this.lastRead === this.lastId) return false;
		this.lastRead = this.lastId;
		this.unread = 0;
		this.mentions = 0;
		return true;
	}

	isRemoved(item) {
		return this.removed.has(item.id) || (item.verb === 'FILE' && item.name === '-' && item.size === null);
	}
}
