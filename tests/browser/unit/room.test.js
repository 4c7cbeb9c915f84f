// A room's window on its log: no gap, no repeat, a bounded number.

import assert from 'node:assert/strict';
import test from 'node:test';
import { ITEMS_KEPT, ITEMS_MAX, PAGE, Room } from '../../../src/web/room.js';

const msg = (id, nick = 'ann') => ({ verb: 'MSG', room: '#a', nick, text: `${id}`, id, time: id * 1000 });
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => msg(from + i));
const ids = (room) => room.items.map(({ id }) => id);

function room(lastId = 0) {
	const made = new Room('#a');
	made.reset(lastId);
	return made;
}

/** The server's replies to `HISTORY … before` and `… after`, for a log of 1 to `last`. */
const before = (id) => range(Math.max(1, id - PAGE), id - 1);
const after = (id, last) => (id >= last ? [] : range(id + 1, Math.min(last, id + PAGE)));

function assertWhole(room) {
	for (let i = 1; i < room.items.length; i++) assert.equal(room.items[i].id, room.items[i - 1].id + 1);
}

test('an event that comes twice is shown once', () => {
	const a = room(5);
	assert.equal(a.push(msg(6)), true);
	assert.equal(a.push(msg(6)), false);
	assert.equal(a.push(msg(4)), false);
	assert.deepEqual(ids(a), [6]);
});

test("the user's own change of the topic gets its place, once", () => {
	const topic = (id) => ({ kind: 'past', verb: 'TOPIC', room: '#a', nick: 'ann', text: 'tea', id, time: 5000 });
	const a = room(5);
	a.push(msg(6));
	a.insert(topic(7));
	a.insert(topic(7));
	assert.equal(a.push(topic(7)), false);
	assert.deepEqual([ids(a), a.lastId, a.hi], [[6, 7], 7, 7]);
	// Other events may come before the answer.
	a.push(msg(9));
	a.insert(topic(8));
	assert.deepEqual([ids(a), a.lastId, a.hi], [[6, 7, 8, 9], 9, 9]);
	// What is above the window is loaded with its neighbours.
	a.trimTop(1);
	a.insert(topic(8));
	assert.deepEqual(ids(a), [9]);
	a.prepend([msg(6), topic(7), topic(8)], true);
	assert.deepEqual(ids(a), [6, 7, 8, 9]);
});

test('in a conversation the reply to a message may come after later messages', () => {
	const bob = new Room('bob');
	assert.equal(bob.push(msg(7, 'bob')), true);
	assert.equal(bob.push(msg(6)), true);
	assert.equal(bob.push(msg(7, 'bob')), false);
	assert.equal(bob.push(msg(8, 'bob')), true);
	assert.deepEqual([ids(bob), bob.lastId], [[7, 6, 8], 8]);
});

test('history and what is live meet without gap or repeat', () => {
	const a = room(150);
	a.push(msg(151));
	a.push(msg(152));
	a.prepend(range(53, 152), false); // the reply was made after 152
	assert.deepEqual([a.items[0].id, a.items.at(-1).id], [53, 152]);
	assertWhole(a);
});

test('a user at the end keeps a bounded number of messages, and can load older ones', () => {
	const a = room(0);
	for (const event of range(1, 5000)) {
		a.push(event);
		a.trimTop(ITEMS_KEPT);
		assert.ok(a.items.length <= ITEMS_KEPT);
	}
	assert.equal(a.atStart, false);
	a.prepend(before(a.lo), false);
	assertWhole(a);
});

test('a user who reads further up keeps the place while thousands arrive', () => {
	const a = room(1000);
	a.prepend(before(1001), false);
	for (const event of range(1001, 6000)) a.push(event);
	assert.ok(a.items.length <= ITEMS_MAX);
	assert.equal(a.items[0].id, 901);
	assert.equal(a.atEnd, false);
	// The user scrolls down to the end, while more arrives.
	let last = 6000;
	while (!a.atEnd) {
		a.loading = 'newer';
		const page = after(a.hi, last);
		a.push(msg(++last));
		a.append(page, page.length < PAGE);
		a.loading = null;
		if (a.items.length > ITEMS_MAX) a.trimTop(ITEMS_MAX - PAGE);
		assertWhole(a);
	}
	assert.equal(a.items.at(-1).id, last);
	a.push(msg(last + 1));
	assert.equal(a.items.at(-1).id, last + 1);
});

test('scrolling up drops the newest, scrolling down loads them again', () => {
	const a = room(5000);
	while (a.lo > 3000) {
		a.prepend(before(a.lo), false);
		a.trimBottom();
		assert.ok(a.items.length <= ITEMS_MAX);
		assertWhole(a);
	}
	assert.equal(a.atEnd, false);
	const page = after(a.hi, 5000);
	a.append(page, false);
	assertWhole(a);
});

test('a place in the middle of the log', () => {
	const a = room(5000);
	a.prepend(before(5001), false);
	a.loading = 'around';
	a.push(msg(5001));
	a.place(range(951, 1000), range(1001, 1050), false, false);
	assertWhole(a);
	assert.deepEqual([a.lo, a.hi, a.atStart, a.atEnd], [951, 1050, false, false]);
});

test('a place near the end opens the window, with the messages that arrived meanwhile', () => {
	const a = room(100);
	a.loading = 'around';
	a.push(msg(101));
	a.place(range(1, 98), range(99, 100), true, true);
	assert.deepEqual([a.items.at(-1).id, a.atEnd, a.atStart], [101, true, true]);
	assertWhole(a);
});

test('events that are not shown move the window too', () => {
	const a = room(10);
	a.push({ verb: 'REMOVE', room: '#a', nick: 'ann', target: 10, id: 11, time: 0 });
	a.push({ verb: 'STORED', room: '#a', nick: 'ann', file: 9, size: 5, id: 12, time: 0 });
	assert.deepEqual([a.items.length, a.hi, a.lastId], [0, 12, 12]);
	a.prepend(range(9, 10), true);
	assert.equal(a.isRemoved(a.items[1]), true);
	assert.equal(a.isRemoved(a.items[0]), false);
	assert.equal(a.stored.get(9), 5);
});

test('joins and leaves next to each other are one line', () => {
	const a = room(10);
	for (const nick of ['bob', 'carol']) a.push({ verb: 'JOIN', room: '#a', nick, id: null, time: 5 });
	assert.equal(a.items.length, 1);
	a.push(msg(11));
	a.push({ verb: 'PART', room: '#a', nick: 'bob', text: '', id: null, time: 6 });
	assert.deepEqual(a.items.map(({ verb }) => verb), ['PRESENCE', 'MSG', 'PRESENCE']);
});

test('unread messages are counted from the read position', () => {
	const a = room(10);
	a.lastRead = 7;
	a.prepend([...range(5, 9), msg(10, 'me')], true);
	a.recount((item) => item.nick === 'me', (item) => item.text === '9');
	assert.deepEqual([a.unread, a.mentions, a.newAfter], [2, 1, 7]);
	assert.equal(a.read(), true);
	assert.deepEqual([a.unread, a.mentions, a.lastRead], [0, 0, 10]);
	assert.equal(a.read(), false);
});

test('messages that were read on another device are not unread, and the read position does not go back', () => {
	const a = room(10);
	a.lastRead = 12;
	for (const id of [11, 12]) {
		a.push(msg(id));
		a.count(msg(id), true);
	}
	assert.deepEqual([a.unread, a.mentions, a.read()], [0, 0, false]);
	a.push(msg(13));
	a.count(msg(13), true);
	assert.deepEqual([a.unread, a.newAfter, a.hasRead(msg(13))], [1, 12, false]);
	a.lastRead = 20;
	assert.equal(a.read(), true);
	assert.deepEqual([a.unread, a.lastRead], [0, 20]);
});

test('a join is not announced after the first message of the same user', () => {
	const a = room(10);
	const joins = (nick, time) => a.push({ verb: 'JOIN', room: '#a', nick, id: null, time });
	a.push(msg(11, 'bob'));
	joins('bob', 11_400);
	assert.deepEqual(a.items.map(({ verb }) => verb), ['MSG']);
	joins('carol', 11_500);
	assert.deepEqual(a.items.map(({ verb }) => verb), ['MSG', 'PRESENCE']);
	// A user who has left and joined again is announced.
	a.push({ verb: 'PART', room: '#a', nick: 'carol', text: '', id: null, time: 11_600 });
	joins('carol', 11_700);
	assert.deepEqual(a.items.at(-1).events.map(({ verb }) => verb), ['JOIN', 'PART', 'JOIN']);
	// Also soon after a message of the user.
	a.push({ verb: 'PART', room: '#a', nick: 'bob', text: '', id: null, time: 11_800 });
	a.push(msg(12));
	joins('bob', 12_500);
	assert.deepEqual(a.items.slice(-3).map(({ verb, events }) => events?.at(-1).verb ?? verb), ['PART', 'MSG', 'JOIN']);
	joins('bob', 60_000);
	assert.equal(a.items.at(-1).events.at(-1).nick, 'bob');
});

test('an edit replaces the text of its message, and takes no row', () => {
	const a = room();
	const edits = (id, text, kind) => a.push({ ...msg(id), kind, verb: 'EDIT', target: 1, text });
	a.push(msg(1));
	edits(2, 'better', 'live');
	assert.deepEqual(a.items.map(({ id, text }) => ({ id, text })), [{ id: 1, text: 'better' }]);
	assert.equal(a.items[0].edited, 2000);
	// An edit that was missed while the connection was broken comes from the log.
	edits(3, 'best', 'past');
	assert.equal(a.items[0].text, 'best');
	// An older page of the log has the newest text already, and an edit that came before it.
	a.lo = 1;
	a.prepend([{ ...msg(0), id: 0.5, verb: 'EDIT', target: 1, text: 'good' }], true);
	assert.equal(a.items[0].text, 'best');
	assert.equal(a.lastId, 3);
});

test('a message that another one answers is found when it is loaded, or was requested; an edit changes it there too', () => {
	const a = room(500);
	a.push(msg(501));
	assert.equal(a.message(501).text, '501');
	assert.equal(a.message(7), undefined);
	a.quotes.set(7, msg(7));
	a.push({ ...msg(502), kind: 'live', verb: 'EDIT', target: 7, text: 'seven' });
	assert.equal(a.message(7).text, 'seven');
	for (let id = 1000; id < 2000; id++) a.quotes.set(id, null);
	assert.equal(a.message(7), undefined);
	assert.equal(a.message(1999), null);
});

test('a page of history with edits and reactions is not taken for the first one', () => {
	const a = room(PAGE + 10);
	const page = before(PAGE + 11).map((event, i) => (i % 2 ? { ...event, verb: 'REACT', target: 1, emoji: '👍' } : event));
	a.prepend(page, page.length < PAGE);
	assert.equal(a.atStart, false);
	assert.deepEqual([a.lo, a.items.length], [page[0].id, PAGE / 2]);
});
