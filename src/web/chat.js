// The state of the chat: the user's name, rooms and messages, on a connection that may break and be made again. It
// has no user interface. The page reads this state, and `changed` tells the page when to draw.

import { Away } from './away.js';
import { Connection } from './connection.js';
import { ITEMS_KEPT, ITEMS_MAX, PAGE, Room } from './room.js';
import { hasReacted, listed } from './reactions.js';
import { Reading } from './reading.js';
import { keeping, refusal } from './refusals.js';
import { Sender } from './sender.js';
import { Tabs } from './tabs.js';
import { PRIVATE_MAX, keepable, merged, newest, superfluous } from './talks.js';
import { mentions } from './text.js';
import { fold, isRoom, words } from './wire.js';

/** The maximum number of direct messages that are requested at once (protocol.md §4.22). */
const TOLD_MAX = 1000;
/**
 * The codes with which a server refuses a name because of its own state. (`busy` means that there were too many wrong
 * passwords.)
 */
const PASSING = new Set(['cut-off', 'internal', 'shutting-down']);

export class Chat {
	/** `welcome`: the user must choose a name. `in`: the user has a name. `forgotten`: the user has deleted it. */
	phase = 'welcome';
	/** The reason why the last name was refused, as a sentence for the user. */
	refused = '';
	/** Whether the name was refused because it is taken, so that its password would help. */
	isNameHeld = false;
	nick = '';
	server = '';
	/** Whether the server has a password that this connection has not given. */
	isLocked = false;
	/** A sentence for the user about how long messages are saved. */
	keeps = '';
	/** The server's rooms, as they were when they were last requested: `[{room, members, topic}]`. */
	directory = [];
	/** Folded name → `Room`, in the order of the list. */
	rooms = new Map();

	/**
	 * The password that protects the nick. Uploads send it too, and the user needs it to use the name on another
	 * device.
	 */
	password = '';

	/** The optional parts of the protocol that the server supports, such as `nonce` and `tags`. */
	can = new Set();
	/** Whether the user is an operator of this server. Operators may delete everything, and ban users. */
	isOperator = false;
	/** Who is away, this user included. */
	away = new Away();
	/** Whether the name is not registered; `undefined` until that is known. */
	isGuest;
	/** The number of messages that the user has sent since the page was opened. */
	sent = 0;
	/** Whether the user has a name and has joined all rooms, so that messages can be sent. */
	isReady = false;

	#active = null;
	/** Whether the user has chosen a name that no server has answered yet. */
	#isEntering = false;
	#keeping = null;
	#restored = ''; // the folded nick whose kept conversations have been loaded
	#running = new Map(); // name of a request → its promise

	/**
	 * Calls `page.changed()`, `page.toast(text)`, `page.announce(room, event)` for each new message of another user,
	 * and `page.notify(room, event)` for each message that should cause a notification. Queries `page.isLooking(room)`
	 * and `page.rowsWanted()`.
	 */
	constructor({ url, open, store, page, tabs = new Tabs(null) }) {
		this.store = store;
		this.tabs = tabs;
		this.page = page;
		this.sender = new Sender(this);
		store.watch((name, value, old) => this.#otherTab(name, value, old));
		this.connection = new Connection({
			url,
			open,
			onup: () => this.#up(),
			ondown: () => this.#down(),
			onevent: (value) => this.#event(value),
			onchange: () => page.changed(),
		});
		this.reading = new Reading((...all) => this.connection.request(...all), (name, id) => this.#readElsewhere(this.room(name), id));
		for (const [name, lastRead] of Object.entries(store.rooms)) Object.assign(this.add(name), { lastRead, isKept: true });
		for (const [name, items] of Object.entries(store.private)) this.add(name).restore(items);
		this.ignored = store.ignored;
		const me = store.me;
		if (me) {
			this.nick = me.nick;
			this.password = me.password;
			this.phase = 'in';
			this.#restoreTalks();
		}
	}

	/** Connects. The room or conversation `name` is shown first. */
	start(name) {
		if (name && this.phase === 'in') {
			if (isRoom(name) && !this.room(name)) this.add(name).lastRead = undefined;
			this.active = this.add(name);
		}
		this.connection.start();
		this.sender.adoptLost();
	}

	get isUp() {
		return this.connection.state === 'up';
	}

	get all() {
		return [...this.rooms.values()];
	}

	room(name) {
		return this.rooms.get(fold(name));
	}

	isMe(nick) {
		return fold(nick) === fold(this.nick);
	}

	// ---- connecting

	async #up() {
		const { connection } = this;
		if (this.store.pass) connection.request(`PASS ${this.store.pass}`);
		this.#modes();
		for (const nick of this.ignored) connection.request(`IGNORE ${nick}`);
		connection.request('HELLO').then((reply) => {
			if (!reply?.ok) return;
			const [, server, parts] = words(reply.text, 2);
			this.server = server;
			this.can = new Set(parts.split(' '));
		});
		if (!this.keeps) connection.request('HELP', ({ text }) => (this.keeps = keeping(text))).then(() => this.page.changed());
		if (this.phase === 'in' || this.#isEntering) await this.#resume();
		else await this.listRooms();
	}

	/** Requests the ids, times and tags of events. A server that does not support tags refuses, which does no harm. */
	#modes() {
		this.connection.request('STAMPS on');
		this.connection.request('TAGS on');
	}

	#down() {
		this.isReady = false;
		this.reading.stop();
		this.away.clear();
		this.sender.lost();
		for (const room of this.rooms.values()) {
			room.joined = false;
			room.loading = null;
			room.connections += 1;
		}
		this.keep();
	}

	/**
	 * Sends the name first, because an invite-only room admits only invited names, and a new room belongs to the name
	 * that creates it. Then joins each room from the last id seen there, so that nothing is missed or received twice.
	 */
	async #resume() {
		const { connection } = this;
		const reply = await connection.request(`NICK ${this.nick} ${this.password}`);
		if (!reply) return;
		this.#isEntering = false;
		if (!reply.ok) {
			if (this.phase === 'in' && PASSING.has(reply.code)) return connection.leave(reply);
			this.#refusedName(reply);
			await this.listRooms(); // shows whether the server itself needs a password
			return;
		}
		const [nick, current] = words(reply.text, 2);
		this.nick = nick;
		this.phase = 'in';
		this.refused = '';
		this.store.me = { nick, password: this.password };
		this.#lookAtRights();
		if (this.away.own) this.setAway(this.away.own);
		this.#shareReading();
		const rooms = this.all.filter((room) => !room.isPrivate);
		if (!rooms.length && current) {
			rooms.push(this.add(current));
			rooms[0].lastRead = undefined;
		}
		rooms.sort((a, b) => (b === this.active) - (a === this.active));
		const joins = rooms.map((room) => this.join(room));
		// The server puts every name into the lobby, even if the user has left it before.
		if (current && !this.room(current)) connection.request(`PART ${current}`);
		this.active ??= rooms[0] ?? this.all[0] ?? null;
		this.#restoreTalks();
		await Promise.all(joins);
		if (!this.isUp) return;
		this.isReady = true;
		connection.works();
		this.#loadConversations();
		this.#look(this.active);
		this.sender.resume();
		this.keep();
		this.page.entered();
	}

	/** Goes back to the welcome card, which asks for another name or for the password of this name. */
	#refusedName(reply) {
		const isGuess = this.password === this.store.password;
		this.refused = refusal(reply, { nick: this.nick, isGuess });
		this.isNameHeld = ['nick-taken', 'need-password', 'bad-password'].includes(reply.code);
		this.phase = 'welcome';
	}

	/** Requests direct messages that the server has saved. Returns those that are new to this page. */
	async #told(which) {
		const events = [];
		const reply = await this.connection.request(`HISTORY ${this.nick} ${which}`, (event) => events.push(event));
		if (!reply?.ok) return [];
		const grown = new Set();
		const fresh = events.filter((event) => {
			const room = this.#conversationOf(event);
			return room?.push(event) && grown.add(room);
		});
		for (const { items } of grown) items.sort((a, b) => a.time - b.time);
		this.page.changed();
		return fresh;
	}

	/** Loads the newest direct messages that the server has saved, including those that were sent while the user was offline. */
	async #loadConversations() {
		const { told } = this.store; // the newest that this browser has shown before
		const fresh = await this.#told(PRIVATE_MAX);
		for (const event of fresh) {
			const room = this.#conversationOf(event);
			if (room && told !== null && event.id > told && !this.isMe(event.nick)) room.count(event, true);
		}
		if (!fresh.length) return;
		this.store.told = Math.max(told ?? 0, fresh.at(-1).id);
		this.keep();
		this.page.changed();
	}

	/**
	 * Joins a room. If the server refuses and `isWanted` is set, the room stays in the list with the reason. Returns the
	 * reply, or `null` if the connection broke before it arrived.
	 */
	async join(room, isWanted = true) {
		const isFresh = !room.isLoaded;
		const line = isFresh ? `JOIN ${room.name}` : `JOIN ${room.name} ${room.lastId}`;
		const reply = await this.connection.request(line, (event) => this.#event(event));
		if (!reply) return null;
		if (!reply.ok) {
			// The room stays in the list with its draft and unsent messages: the user may be invited again.
			if (isWanted) room.shut = refusal(reply, { room: room.name });
			this.page.changed();
			return reply;
		}
		room.shut = '';
		const [name, last] = words(reply.text, 1);
		if (name !== room.name) this.#rename(room, name);
		room.joined = true;
		if (room !== this.active) this.setMode(room); // for the active one, `#look` requests it
		if (isFresh) room.reset(Number(last));
		if (Number(last) < room.lastId) {
			// The server has started a new log.
			room.reset(Number(last));
			room.lastRead = 0;
			this.store.resetRoom(room.name, 0);
			room.isLoaded = false;
		}
		if (!room.isLoaded) await this.#load(room);
		else if (room === this.active) this.#look(room);
		this.page.changed();
		return reply;
	}

	/** Loads the newest messages of a room that has just been joined. */
	async #load(room) {
		room.isLoaded = true;
		await this.older(room);
		if (room.lastRead === undefined) room.lastRead = this.reading.of(room.name) ?? room.lastId;
		this.#recount(room);
		if (room === this.active) this.#look(room);
		this.page.changed();
	}

	#recount(room) {
		room.recount((item) => this.isMe(item.nick) || this.isIgnored(item.nick), (item) => this.#isMention(item, room));
	}

	/** Requests what the page shows around the messages: members, mode and topic. */
	#look(room) {
		if (!room || room.isPrivate || !room.joined) return;
		this.who(room);
		this.setMode(room);
		this.connection.request(`TOPIC ${room.name}`).then((reply) => {
			if (!reply?.ok) return;
			[, room.topic] = words(reply.text, 1);
			this.page.changed();
		});
	}

	/**
	 * Signs in with a name, and shows `room` if it is given. `pass` is the server's password. If it is refused, sets
	 * `refused`.
	 */
	async enter(nick, password, room, pass) {
		if (!this.isUp) return;
		if (pass) {
			const reply = await this.connection.request(`PASS ${pass}`);
			if (!reply) return;
			if (!reply.ok) {
				this.refused = refusal(reply);
				return void this.page.changed();
			}
			this.store.pass = pass;
			this.#modes();
		}
		this.isGuest = undefined;
		this.nick = nick;
		this.password = password || this.store.password;
		if (room) {
			this.active = this.add(room);
			if (!this.active.isLoaded) this.active.lastRead = undefined;
		}
		this.#isEntering = true;
		await this.#resume();
	}

	async rename(nick, password) {
		const reply = await this.connection.request(`NICK ${nick} ${password || this.password}`);
		if (!reply?.ok) return refusal(reply, { nick, isGuess: !password });
		const old = this.nick;
		if (password) this.password = password;
		this.isGuest = undefined;
		this.keepNow(); // under the old name
		[this.nick] = words(reply.text, 1);
		this.store.me = { nick: this.nick, password: this.password };
		this.#restoreTalks();
		for (const room of this.rooms.values()) {
			if (room.members.delete(fold(old))) room.members.set(fold(this.nick), this.nick);
		}
		this.away.rename(old, this.nick);
		this.#shareReading();
		this.page.renewPush?.();
		this.#lookAtRights();
		this.page.changed();
		return '';
	}

	/** Shares with the user's other devices what has been read, if the name is registered. */
	async #shareReading() {
		if (!this.can.has('accounts')) return;
		await this.reading.start(this.nick);
		const { isRegistered } = this.reading;
		if (isRegistered !== undefined) this.isGuest = !isRegistered;
		this.page.changed();
	}

	/** Loads the conversations that this browser has kept for the user's name. */
	#restoreTalks() {
		const own = fold(this.nick);
		if (this.#restored === own) return;
		this.#restored = own;
		for (const [key, items] of this.store.talks) {
			const [nick, partner] = words(key, 1);
			if (nick !== own || !items.length) continue;
			const name = this.placeOf(items.at(-1));
			const room = this.add(fold(name) === partner ? name : partner);
			room.restore(merged(items, room.items.filter(({ time }) => time)));
		}
	}

	#talkKey(name) {
		return `${fold(this.nick)} ${fold(name)}`;
	}

	/** Keeps the conversations in this browser, together with what other tabs know of them. */
	#keepTalks() {
		const { nick, store } = this;
		let isNew = false;
		for (const room of this.all) {
			const sign = `${room.items.length} ${room.items.at(-1)?.key}`;
			if (!room.isPrivate || room.keptSign === sign) continue;
			room.keptSign = sign;
			const mine = keepable(room.items, nick);
			if (!mine.length) continue;
			const key = this.#talkKey(room.name);
			const kept = store.talk(key);
			isNew ||= !kept.length;
			store.keepTalk(key, newest(merged(kept, mine)));
		}
		if (isNew) for (const key of superfluous(store.talks)) store.dropTalk(key);
	}

	/**
	 * Deletes the unsaved messages of a conversation from this browser, in all its tabs and for all the user's names.
	 * Without `room`, deletes those of all conversations.
	 */
	deleteTalks(room) {
		const { store } = this;
		for (const [key] of store.talks) if (!room || words(key, 1)[1] === fold(room.name)) store.deleteTalk(key);
		for (const one of room ? [room] : this.all.filter(({ isPrivate }) => isPrivate)) one.dropUnsaved();
		this.keep();
		this.page.changed();
	}

	/** Finds out whether the user is an operator, by listing the bans, which only operators may do. */
	async #lookAtRights() {
		if (!this.can.has('accounts')) return;
		const reply = await this.connection.request('BANS');
		this.isOperator = Boolean(reply?.ok);
		this.page.changed();
	}

	/** Registers the name with a password; without one, with the current password. Returns why that was refused, or ''. */
	async register(password = this.password) {
		const reply = await this.connection.request(`REGISTER ${password}`);
		if (!reply?.ok) return refusal(reply, { nick: this.nick });
		this.password = password;
		this.store.me = { nick: this.nick, password };
		this.#shareReading();
		this.page.renewPush?.();
		this.#lookAtRights();
		return '';
	}

	// ---- rooms

	/** Returns the room or conversation with this name. If it does not exist, creates it. */
	add(name) {
		const known = this.room(name);
		if (known) return known;
		const room = new Room(name);
		this.rooms.set(fold(name), room);
		return room;
	}

	#drop(room) {
		this.rooms.delete(fold(room.name));
		if (room.isPrivate) this.deleteTalks(room);
		else this.store.dropRoom(room.name);
		if (this.active === room) this.active = this.all[0] ?? null;
		this.keep();
		this.page.changed();
	}

	#rename(room, name) {
		const { all } = this;
		this.sender.outbox.rename(room.name, name);
		if (room.isPrivate) this.store.dropTalk(this.#talkKey(room.name));
		else this.store.dropRoom(room.name);
		room.keptSign = '';
		room.isKept = false;
		room.name = name;
		this.rooms = new Map(all.map((room) => [fold(room.name), room]));
		this.keep();
	}

	/** The room or conversation that is shown. */
	get active() {
		return this.#active;
	}

	/** The input follows at once, and not in the next frame: what the user types next belongs there. */
	set active(room) {
		this.#active = room;
		this.page.switched?.();
	}

	/**
	 * Shows a room or conversation. Joins the room if necessary. Returns it, or `null` after showing why it was
	 * refused.
	 */
	async open(name) {
		let room = this.room(name);
		if (!room) {
			if (isRoom(name) && !this.isReady) return this.#refuse(null);
			room = this.add(name);
			if (!room.isPrivate) {
				room.lastRead = undefined;
				const reply = await this.join(room, false);
				if (!room.joined) {
					this.#drop(room);
					return this.#refuse(reply, { room: name });
				}
				this.keep();
			}
		} else if (room.shut && this.isReady) this.join(room);
		if (this.active !== room) {
			if (this.active && !this.active.unread) this.active.newAfter = null;
			this.active = room;
			this.#look(room);
		}
		this.page.changed();
		return room;
	}

	/** Shows the user why something was refused. */
	#refuse(reply, about) {
		this.page.toast(refusal(reply, about));
		return null;
	}

	async leave(room) {
		if (!room.isPrivate && this.isUp) {
			const reply = await this.connection.request(`PART ${room.name}`);
			if (reply && !reply.ok && reply.code !== 'not-in-room') return void this.#refuse(reply, { room: room.name });
		}
		this.#drop(room);
		this.#look(this.active);
	}

	async listRooms() {
		const found = [];
		const reply = await this.connection.request('ROOMS', (room) => found.push(room));
		if (reply?.ok) this.directory = found;
		this.isLocked = reply?.code === 'need-password';
		this.page.changed();
	}

	async who(room) {
		if (room.meanwhile) return; // already requested
		const members = new Map();
		room.meanwhile = [];
		const reply = await this.connection.request(`WHO ${room.name}`, ({ nick, away }) => {
			members.set(fold(nick), nick);
			this.away.set(nick, away);
		});
		if (reply?.ok) {
			room.members = members;
			room.hasMembers = true;
			for (const event of room.meanwhile) this.#presence(room, event);
		}
		room.meanwhile = null;
		this.page.changed();
	}

	/** Sets the topic, and shows the event, which the server sends only to others. */
	async setTopic(room, text) {
		const { lastId } = room;
		const reply = await this.connection.request(`TOPIC ${room.name} ${text || '-'}`);
		if (!reply?.ok) return void this.#refuse(reply);
		[, room.topic] = words(reply.text, 1);
		this.page.changed();
		const events = [];
		await this.connection.request(`HISTORY ${room.name} ${PAGE} after ${lastId}`, (event) => events.push(event));
		for (const event of events) if (event.verb === 'TOPIC') room.insert(event);
		this.trim(room);
		this.page.changed();
	}

	/** Marks the user as away, or as back without a text. Returns whether that was done. */
	async setAway(text) {
		const reply = await this.ask(`AWAY ${text}`.trim());
		if (!reply) return false;
		this.away.own = text;
		this.away.set(this.nick, text);
		this.page.changed();
		return true;
	}

	// ---- moderation

	/** Sends a request that changes something, and shows its refusal. Returns the reply if it is OK. */
	async ask(line, about) {
		const reply = await this.connection.request(line);
		return reply?.ok ? reply : this.#refuse(reply, about);
	}

	/** Makes a room invite-only or open. Without `mode`, requests which of the two it is. */
	async setMode(room, mode) {
		const reply = mode ? await this.ask(`MODE ${room.name} ${mode}`, { room: room.name }) : await this.connection.request(`MODE ${room.name}`);
		if (!reply?.ok) return false;
		room.isClosed = words(reply.text, 1)[1] === 'invite';
		this.page.changed();
		return true;
	}

	/** Hides a user's messages: the server no longer sends new ones, and the page hides older ones. */
	async ignore(nick, isIgnored = true) {
		const reply = await this.ask(`${isIgnored ? 'IGNORE' : 'UNIGNORE'} ${nick}`, { nick });
		if (!reply) return false;
		const others = this.ignored.filter((other) => fold(other) !== fold(nick));
		this.ignored = isIgnored ? [...others, nick] : others;
		this.store.ignored = this.ignored;
		this.page.renewPush?.();
		this.page.changed();
		return true;
	}

	isIgnored(nick) {
		return this.ignored.length > 0 && Boolean(nick) && this.ignored.some((other) => fold(other) === fold(nick));
	}

	// ---- history

	async #page(room, loading, lines, apply) {
		if (room.isPrivate || room.loading || !this.isUp || !room.joined) return;
		room.loading = loading;
		const { items, lo } = room;
		const pages = lines.map(() => []);
		const replies = await Promise.all(
			lines.map((line, i) => this.connection.request(`HISTORY ${room.name} ${line}`, (event) => pages[i].push(event))),
		);
		if (room.items !== items || room.loading !== loading) return; // the window has moved elsewhere meanwhile
		// If the oldest messages have been dropped meanwhile, an older page no longer fits.
		const fits = loading !== 'older' || room.lo === lo;
		if (fits && replies.every((reply) => reply?.ok)) apply(...pages);
		room.loading = null;
		this.page.changed();
	}

	older(room) {
		if (room.atStart) return undefined;
		return this.#page(room, 'older', [`${PAGE} before ${room.lo}`], (events) => {
			room.prepend(events, events.length < PAGE);
			room.trimBottom();
		});
	}

	newer(room) {
		if (room.atEnd) return undefined;
		return this.#page(room, 'newer', [`${PAGE} after ${room.hi}`], (events) => {
			room.append(events, events.length < PAGE);
			if (room.items.length > ITEMS_MAX) room.trimTop(ITEMS_MAX - PAGE);
		});
	}

	/** Loads the messages around an id; in a conversation, the first direct messages from that id on, of all conversations. */
	around(room, id) {
		if (room.isPrivate) return this.#told(`${TOLD_MAX} after ${id - 1}`);
		const half = PAGE / 2;
		return this.#page(room, 'around', [`${half} before ${id + 1}`, `${half} after ${id}`], (before, after) =>
			room.place(before, after, before.length < half, after.length < half),
		);
	}

	/** Loads the newest messages again. */
	async latest(room) {
		if (room.atEnd) return;
		room.reset(room.lastId);
		room.loading = null;
		await this.older(room);
	}

	/**
	 * Requests a list of events, such as `FILES #ops` or `SEARCH #ops disk`. Returns the events, newest first; `isCut`,
	 * whether the server stopped before it had searched everything; the `text` of the reply; and why the request was
	 * refused, or ''.
	 */
	async list(line, about) {
		const events = [];
		const reply = await this.connection.request(line, (event) => events.push(event));
		const isDone = Boolean(reply?.ok);
		return { events: events.reverse(), isCut: isDone && / cut$/.test(reply.text), text: isDone ? reply.text : '', error: isDone ? '' : refusal(reply, about) };
	}

	/** Shows a file that the user has sent in a conversation. An older server tells only the other user of it. */
	sentFile(room, { name, size }, id) {
		room.push({ kind: 'live', verb: 'FILE', room: room.name, nick: this.nick, file: id, size, name, id, time: Date.now() });
		this.trim(room);
		this.keep();
	}

	async remove(room, id) {
		const reply = await this.connection.request(`REMOVE ${id}`);
		if (!reply?.ok) return this.#refuse(reply);
		room.remove(id);
		room.files += 1;
		this.page.changed();
		return reply;
	}

	/** Returns whether the user may delete a message or file. Users may delete their own, and operators any. */
	canRemove(room, item) {
		return Boolean(item.id) && ['MSG', 'ME', 'FILE'].includes(item.verb) && (this.isOperator || this.isMe(item.nick)) && !room.isRemoved(item);
	}

	/** Returns whether the user may edit a message. */
	canEdit(room, item) {
		return Boolean(item.id) && (item.verb === 'MSG' || item.verb === 'ME') && this.can.has('edit') && this.isMe(item.nick) && !room.isRemoved(item) && item.isWhole !== false;
	}

	/** Replaces the text of one of the user's own messages. Returns why that was refused, or ''. */
	async edit(room, id, text) {
		const reply = await this.connection.request(`EDIT ${id} ${text}`);
		if (!reply?.ok) return refusal(reply);
		const [event, time] = words(reply.text, 1);
		room.push({ kind: 'live', verb: 'EDIT', room: room.name, nick: this.nick, target: id, text, id: Number(event), time: Date.parse(time) });
		this.page.changed();
		return '';
	}

	/** Reacts to a message, or withdraws the user's reaction if it exists. */
	async react(room, id, emoji) {
		const item = room.message(id);
		if (item && room.needsReacts(item)) await this.reacts(room, id);
		const verb = hasReacted(room.message(id)?.reacts ?? [], emoji, this.nick) ? 'UNREACT' : 'REACT';
		const reply = await this.connection.request(`${verb} ${id} ${emoji}`);
		if (!reply?.ok) return void this.#refuse(reply);
		const [event] = words(reply.text, 1);
		if (event !== '-') room.push({ kind: 'live', verb, room: room.name, nick: this.nick, target: id, emoji, id: Number(event) });
		if (verb === 'REACT') this.store.addEmoji(emoji);
		this.page.changed();
	}

	/** Requests who has reacted to a message, unless that has been requested already. */
	reacts(room, id) {
		return this.#once(`reacts ${id}`, () => this.#listReacts(room, id));
	}

	/** Runs `act`, unless it is already running under this name. Returns its promise. */
	#once(name, act) {
		const running = this.#running.get(name) ?? act().finally(() => this.#running.delete(name));
		this.#running.set(name, running);
		return running;
	}

	/**
	 * Requests who has reacted. Requests it again if something has changed meanwhile. A refusal means that nobody has
	 * reacted.
	 */
	async #listReacts(room, id) {
		for (let turn = 0; turn < 3; turn++) {
			const before = room.message(id)?.reacts;
			const found = [];
			const reply = await this.connection.request(`REACTS ${id}`, (row) => found.push(row));
			if (!reply) return;
			if (reply.ok && room.message(id)?.reacts !== before) continue;
			room.setReacts(id, reply.ok ? listed(found) : []);
			this.page.changed();
			return;
		}
	}

	/** Requests a message to which another one replies. */
	quote(room, id) {
		return this.#once(`quote ${room.name} ${id}`, () => this.#findQuote(room, id));
	}

	async #findQuote(room, id) {
		if (room.message(id) !== undefined) return;
		const found = [];
		const reply = await this.connection.request(`HISTORY ${room.isPrivate ? this.nick : room.name} 1 before ${id + 1}`, (event) => found.push(event));
		if (!reply?.ok) return;
		const [event] = found;
		room.quotes.set(id, event?.id === id ? event : null);
		this.page.changed();
	}

	/** Marks the active room as read. */
	seen() {
		const room = this.active;
		if (!room?.read()) return;
		if (!room.isPrivate) this.reading.read(room.name, room.lastRead);
		this.keep();
		this.page.changed();
	}

	// ---- receiving

	#event(value) {
		switch (value.kind) {
			case 'live':
			case 'past':
				this.#receive(value);
				break;
			case 'gap': {
				const room = this.room(value.room);
				if (!room) break;
				room.notice('Some messages are missing here.');
				if (room === this.active) this.#look(room);
				break;
			}
			case 'out':
				this.#removed(this.room(value.room));
				break;
			case 'invite':
				this.page.invited(value.room, value.nick);
				break;
			case 'away':
				this.away.set(value.nick, value.text);
				break;
			case 'note':
				this.active?.notice(`${value.nick}: ${value.text}`);
				break;
			default:
		}
		this.page.changed();
	}

	#receive(event) {
		if (event.verb === 'INVITE') return this.page.invited(event.room, event.nick);
		if (event.verb === 'AWAY') return this.away.set(event.nick, event.text);
		if (event.verb === 'SEEN') return this.reading.moved(event);
		const room = isRoom(event.room) ? this.room(event.room) : this.#conversationOf(event);
		// Messages that arrive between NICK and JOIN come again with JOIN, after those that were missed.
		if (!room || (event.kind === 'live' && !room.isPrivate && !room.joined)) return;
		if (!room.push(event)) return;
		if (event.verb === 'TOPIC') room.topic = event.text;
		if (event.verb === 'JOIN' || event.verb === 'PART' || event.verb === 'NICK') {
			room.meanwhile?.push(event);
			this.#presence(room, event);
			this.#forgetAway(event);
		}
		const isSaid = event.verb === 'MSG' || event.verb === 'ME' || event.verb === 'FILE';
		if (isSaid && !this.isMe(event.nick) && !this.isIgnored(event.nick)) {
			const isMention = this.#isMention(event, room);
			if (this.page.isLooking(room)) this.seen();
			else {
				room.count(event, isMention);
				if (isMention && !(event.of && room.isPrivate) && !room.hasRead(event)) this.page.notify(room, event);
			}
			if (!event.of) this.page.announce(room, event);
		}
		this.trim(room);
		if (!room.isPrivate) return;
		if (event.id) this.store.told = Math.max(this.store.told ?? 0, event.id);
		this.keep();
	}

	/** Handles the removal of the user from a room that became invite-only, or to which the user is no longer invited. */
	#removed(room) {
		if (!room) return;
		room.joined = false;
		room.loading = null;
		room.shut = `You are no longer in ${room.name}: it is invite-only, and you are not invited.`;
		this.page.changed();
	}

	/**
	 * Returns the conversation to which a private event belongs. A deletion is looked up by its message, because an
	 * operator may have sent it.
	 */
	#conversationOf(event) {
		if (event.target) return this.all.find((room) => room.isPrivate && room.items.some(({ id }) => id === event.target));
		return this.add(this.placeOf(event));
	}

	/** Returns the room of an event, or the other user of a direct message. What `unsaved` returns has it as its `place`. */
	placeOf({ place, room, nick }) {
		return place ?? (isRoom(room) || this.isMe(nick) ? room : nick);
	}

	/** Returns the direct messages that the server has not saved, if they contain all of `words` and are from `from`, if given. */
	unsaved(words, from) {
		const has = ({ id, time, text, nick }) => !id && time && text && words.every((word) => mentions(text, word)) && !(from && fold(from) !== fold(nick));
		return this.all.flatMap((room) => (room.isPrivate ? room.items.filter(has).map((item) => ({ ...item, place: room.name })) : []));
	}

	/**
	 * Returns whether a message mentions this user: because it is a direct message, mentions everybody in the room,
	 * contains the name, or replies to a message of the user.
	 */
	#isMention(event, room) {
		return room.isPrivate || Boolean(event.isForAll) || this.isMe(room.message(event.reply)?.nick ?? '') || mentions(event.text ?? event.name ?? '', this.nick);
	}

	trim(room) {
		const isReadAbove = room === this.active && !this.page.isFollowing();
		if (room.isPrivate) room.trimTop(PRIVATE_MAX + (isReadAbove ? TOLD_MAX : 0));
		else if (this.page.isLooking(room)) room.trimTop(this.page.rowsWanted());
		else if (room.atEnd && !isReadAbove) room.trimTop(ITEMS_KEPT);
	}

	#presence(room, { verb, nick, to }) {
		if (verb === 'JOIN') room.members.set(fold(nick), nick);
		else room.members.delete(fold(nick));
		if (verb !== 'NICK') return;
		room.members.set(fold(to), to);
		this.away.rename(nick, to);
		const talk = this.room(nick);
		if (talk?.isPrivate && !this.room(to)) this.#rename(talk, to);
	}

	/**
	 * Forgets that a user is away, if the user has left every room of this page or joins one: the server then reports it
	 * again.
	 */
	#forgetAway({ verb, nick }) {
		const isGone = verb === 'PART' && !this.all.some(({ members }) => members.has(fold(nick)));
		if (verb === 'JOIN' || isGone) this.away.set(nick, '');
	}

	// ---- saving

	/**
	 * Saves soon, and only once for all changes until then. Saving at each of a thousand messages would take longer
	 * than handling them.
	 */
	keep() {
		this.#keeping ??= setTimeout(() => this.keepNow(), 200);
	}

	keepNow() {
		clearTimeout(this.#keeping);
		this.#keeping = null;
		if (this.phase !== 'in') return;
		const { store } = this;
		this.sender.keep();
		for (const room of this.all.filter((room) => !room.isPrivate)) {
			if (room.isKept && !store.hasRoom(room.name)) continue; // another tab has just left it
			store.keepRoom(room.name, room.lastRead ?? room.lastId);
			room.isKept = true;
		}
		this.#keepTalks();
		// An unsaved message that is deleted in another tab must not come back from a tab that was closed: only `talks` has it.
		const saved = ({ items }) => items.filter(({ id }) => id);
		store.private = Object.fromEntries(this.all.filter((r) => r.isPrivate).map((r) => [r.name, saved(r)]));
	}

	// ---- other tabs of this browser

	/** Applies what another tab has saved or removed. */
	#otherTab(name, value, old) {
		const [, kind, rest] = /^(\w+)\.?(.*)$/s.exec(name) ?? [];
		switch (kind) {
			case 'room':
				if (this.phase === 'in') this.#roomElsewhere(rest, value);
				break;
			case 'out':
				this.sender.elsewhere(rest, value);
				break;
			case 'talk':
				if (value?.length !== 0) break;
				this.room(words(rest, 1)[1])?.dropUnsaved(); // another tab has deleted the conversation
				this.keep();
				break;
			case 'draft':
				this.page.draft(rest, value ?? '', old ?? '');
				break;
			case 'ignored': {
				const before = this.ignored;
				this.ignored = value ?? [];
				for (const nick of this.ignored) if (!before.includes(nick)) this.connection.request(`IGNORE ${nick}`);
				for (const nick of before) if (!this.ignored.includes(nick)) this.connection.request(`UNIGNORE ${nick}`);
				break;
			}
			case 'me':
				if (!value) this.page.forgotten();
				else if (this.phase === 'in') {
					this.password = value.password;
					if (value.nick !== this.nick && this.isUp) this.rename(value.nick, value.password);
					else this.nick = value.nick;
				}
				break;
			default:
		}
		this.page.changed();
	}

	#roomElsewhere(name, value) {
		const room = this.room(name);
		if (!value) {
			if (!room) return;
			if (this.isUp) this.connection.request(`PART ${room.name}`);
			this.#drop(room);
		} else if (!room) {
			const added = this.add(name);
			Object.assign(added, { lastRead: value.read, isKept: true });
			if (this.isReady) this.join(added);
		} else this.#readElsewhere(room, value.read);
	}

	/** Notes that the user has read a room up to `id` in another tab or on another device. */
	#readElsewhere(room, id) {
		if (!room || !(id > room.lastRead)) return;
		room.lastRead = id;
		if (id >= room.lastId) room.read();
		else if (room.isLoaded && room.atEnd) this.#recount(room);
		this.keep();
	}

	/** Signs out and removes everything from this browser. */
	async forget() {
		await this.connection.request('BYE');
		this.connection.stop();
		this.phase = 'forgotten';
		this.store.forget();
	}
}
