// A connection that breaks and comes back, and the chat on it, with sockets that the test answers.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Chat } from '../../../src/web/chat.js';
import { Connection, pauseMs } from '../../../src/web/connection.js';
import { Memory, Store } from '../../../src/web/store.js';
import { PRIVATE_MAX } from '../../../src/web/talks.js';

const TIME = '2026-11-22T11:22:05.007Z';

class Socket {
	sent = [];
	send(line) {
		this.sent.push(line);
	}
	close() {}
	gets(...lines) {
		for (const data of lines) this.onmessage({ data });
	}
}

/** Waits until everything that is ready to run has run. */
const settled = () => new Promise((done) => setImmediate(done));

/** Collects the sockets that are opened. */
function network() {
	const sockets = [];
	return { sockets, open: () => (sockets.push(new Socket()), sockets.at(-1)) };
}

test('pauses grow, differ and stay below half a minute', () => {
	assert.equal(pauseMs(0, () => 0), 250);
	assert.equal(pauseMs(0, () => 1), 500);
	assert.equal(pauseMs(3, () => 1), 4000);
	assert.equal(pauseMs(1000, () => 1), 30_000);
});

function connection(t) {
	const { sockets, open } = network();
	const events = [];
	const made = new Connection({
		url: 'ws://x/ws',
		open,
		onup: () => events.push('up'),
		ondown: () => events.push('down'),
		onevent: (event) => events.push(event.kind),
	});
	t.after(() => made.stop());
	made.start();
	sockets[0].onopen();
	return { made, sockets, events };
}

test('replies go to their requests in order, lists with them', async (t) => {
	const { made, sockets, events } = connection(t);
	const parts = [];
	const rooms = made.request('ROOMS', (part) => parts.push(part.room));
	const ping = made.request('PING');
	sockets[0].gets('ROOM #a 1', `LIVE 3 ${TIME} MSG #a bob hi`, 'ROOM #b 2', 'OK ROOMS 2', 'ERR PING bad-syntax no');
	assert.equal((await rooms).text, '2');
	assert.equal((await ping).code, 'bad-syntax');
	assert.deepEqual(parts, ['#a', '#b']);
	assert.deepEqual(events, ['up', 'live']);
});

test('a broken connection leaves no request waiting', async (t) => {
	const { made, sockets, events } = connection(t);
	const ping = made.request('PING');
	sockets[0].onclose();
	assert.equal(await ping, null);
	assert.equal(await made.request('PING'), null);
	assert.deepEqual(events, ['up', 'down']);
	assert.equal(made.state, 'down');
	made.retryNow();
	assert.equal(sockets.length, 2);
	// The old socket is ignored.
	sockets[0].onmessage({ data: `LIVE 3 ${TIME} MSG #a bob hi` });
	assert.deepEqual(events, ['up', 'down']);
});

test('a banned user does not reconnect automatically', (t) => {
	const { made, sockets } = connection(t);
	sockets[0].gets('CLOSED banned go away');
	sockets[0].onclose();
	assert.equal(made.state, 'ended');
	assert.equal(made.retryAt, null);
});

test('a connection that is stopped while it waits does not reconnect', (t) => {
	const timers = new Set();
	t.mock.method(globalThis, 'setTimeout', (act) => (timers.add(act), act));
	t.mock.method(globalThis, 'clearTimeout', (act) => timers.delete(act));
	const { made, sockets } = connection(t);
	sockets[0].onclose();
	assert.equal(made.state, 'down');
	assert.equal(timers.size, 1);
	made.stop();
	assert.equal(made.state, 'ended');
	assert.equal(timers.size, 0);
});

// ---- the chat

/** The storage of a browser in which ann has read room #a up to id 10. */
function storage() {
	const store = new Store(new Memory(), new Memory());
	store.me = { nick: 'ann', password: 'secret' };
	store.keepRoom('#a', 10);
	return store;
}

const line = (word, id, nick, text) => `${word} ${id} ${TIME} MSG #a ${nick} ${text}`;
const live = (...event) => line('LIVE', ...event);
const past = (...event) => line('PAST', ...event);
const before = [past(10, 'bob', 'before')];

/** A tab with a chat, on sockets that the test answers. */
class Tab {
	constructor(t, store = storage()) {
		const { sockets, open } = network();
		const page = { changed() {}, toast() {}, announce() {}, notify() {}, entered() {}, invited() {}, draft() {}, forgotten() {}, isLooking: () => false, isFollowing: () => true };
		Object.assign(this, { sockets, store, chat: new Chat({ url: 'ws://x/ws', open, store, page }) });
		t.after(() => this.chat.connection.stop());
	}

	get socket() {
		return this.sockets.at(-1);
	}
	get room() {
		return this.chat.room('#a');
	}
	get ids() {
		return this.room.items.map(({ id }) => id);
	}

	/** The messages that the page has sent on the newest socket, without their tags. */
	get told() {
		return this.socket.sent.filter((line) => typeof line === 'string').map((line) => line.replace(/^@\S+ /, '')).filter((line) => line.startsWith('TELL'));
	}

	/** Connects, and answers the requests of the page. */
	async connect(answers) {
		if (this.socket) {
			this.socket.onclose?.(); // unless the test has broken it
			this.chat.connection.retryNow();
		} else this.chat.start('#a');
		this.socket.onopen();
		await this.answer(answers);
	}

	/** Answers requests, with the events `past` for `JOIN`. Leaves those that the test answers itself. */
	async answer({ last, past = [], history = [], readers = [], refused = null, current = '#a', can = 'nonce reply tags' }) {
		const { socket } = this;
		let asked = 0;
		this.can = can;
		for (let turn = 0; turn < 20; turn++) {
			await settled();
			while (asked < socket.sent.length) {
				const [verb, arg] = String(socket.sent[asked++]).split(' ');
				if (verb === 'STAMPS' || verb === 'TAGS') socket.gets(`OK ${verb} on`);
				else if (verb === 'HELLO') socket.gets(`OK HELLO 1 box ${this.can}`);
				else if (verb === 'HELP') socket.gets('HELP kept', 'OK HELP');
				else if (verb === 'JOIN') socket.gets(...past, refused ?? `OK JOIN ${arg} ${last}`);
				else if (verb === 'NICK') socket.gets(`OK NICK ${arg} ${current} ${last}`);
				else if (verb === 'HISTORY') socket.gets(...history, `OK HISTORY ${history.length}`);
				else if (verb === 'WHO') socket.gets('USER #a ann', 'OK WHO 1');
				else if (verb === 'TOPIC') socket.gets('OK TOPIC #a');
				else if (verb === 'MODE') socket.gets('OK MODE #a open');
				else if (verb === 'PART') socket.gets(`OK PART ${arg}`);
				else if (verb === 'BANS') socket.gets('ERR BANS not-allowed you are not an operator');
				else if (verb === 'WHOIS') socket.gets('USER #a ann', 'OK WHOIS ann registered online');
				else if (verb === 'READERS') {
					socket.gets(...readers, `OK READERS ${readers.length}`);
					await settled(); // in a browser, each message is a task of its own
				}
				else if (verb === 'SEEN') socket.gets(`OK SEEN #a ${arg}`);
				else return;
			}
		}
	}
}

test('after a break the page asks for what it missed, and sends again what was not answered, with the same nonces', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, history: before });
	assert.deepEqual(tab.ids, [10]);
	tab.socket.gets(live(11, 'bob', 'eleven'));
	tab.chat.sender.send(tab.room, 'arrived');
	tab.chat.sender.send(tab.room, 'lost');
	await settled();
	const nonces = () => tab.socket.sent.map((line) => /^@nonce=([\w.-]{1,64}) TELL/.exec(line)?.[1]).filter(Boolean);
	const first = nonces();
	assert.equal(new Set(first).size, 2);
	tab.socket.onclose();
	tab.chat.sender.send(tab.room, 'typed offline');
	await tab.connect({ last: 13, past: [past(12, 'ann', 'arrived'), past(13, 'bob', 'thirteen')] });
	const { sent } = tab.socket;
	assert.ok(sent.includes('JOIN #a 11'));
	assert.ok(sent.indexOf('JOIN #a 11') > sent.indexOf('NICK ann secret'));
	assert.deepEqual(tab.told, ['TELL #a arrived', 'TELL #a lost', 'TELL #a typed offline']);
	assert.deepEqual(nonces().slice(0, 2), first);
	tab.socket.gets(`OK TELL 12 ${TIME}`, `OK TELL 14 ${TIME}`, `OK TELL 15 ${TIME}`);
	await settled();
	assert.deepEqual(tab.ids, [10, 11, 12, 13, 14, 15]);
	assert.deepEqual(tab.chat.sender.outbox.entries, []);
});

test('a server that is cut off is left, and what it refused is sent to the next', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, history: before });
	tab.chat.sender.send(tab.room, 'hello');
	await settled();
	tab.socket.gets('ERR TELL cut-off use another server');
	await settled();
	assert.equal(tab.chat.connection.state, 'down');
	tab.chat.connection.retryNow();
	tab.socket.onopen();
	tab.socket.gets('OK STAMPS on', 'OK TAGS on', 'OK HELLO 1 box nonce', 'ERR NICK cut-off use another server');
	await settled();
	assert.equal(tab.chat.connection.state, 'down');
	assert.ok(tab.chat.connection.retryAt - Date.now() > 500);
	assert.equal(tab.chat.phase, 'in');
	await tab.connect({ last: 10 });
	assert.deepEqual(tab.told, ['TELL #a hello']);
});

test('a message to an unregistered user that a server refused because it is cut off is sent to the next', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, history: before });
	tab.chat.sender.send(tab.chat.add('bob'), 'hello');
	await settled();
	tab.socket.gets('ERR TELL cut-off use another server');
	await settled();
	assert.deepEqual(tab.chat.connection.closed, { code: 'cut-off', text: 'use another server' });
	await tab.connect({ last: 10 });
	assert.deepEqual(tab.told, ['TELL bob hello']);
});

test('the pauses grow while every server refuses the name for a while', async (t) => {
	t.mock.method(Math, 'random', () => 1);
	const tab = new Tab(t);
	await tab.connect({ last: 10 });
	const pauses = [];
	for (let turn = 0; turn < 4; turn++) {
		tab.chat.connection.drop();
		tab.chat.connection.retryNow();
		tab.socket.onopen();
		tab.socket.gets('OK STAMPS on', 'OK TAGS on', 'OK HELLO 1 box nonce', 'ERR NICK cut-off use another server');
		await settled();
		pauses.push(Math.round((tab.chat.connection.retryAt - Date.now()) / 1000));
	}
	assert.deepEqual(pauses, [2, 8, 30, 30]);
	await tab.connect({ last: 10 });
	tab.chat.connection.drop();
	assert.equal(Math.round((tab.chat.connection.retryAt - Date.now()) / 100), 5);
});

test('too many wrong passwords are reported, and the page does not try again by itself', async (t) => {
	const tab = new Tab(t);
	tab.chat.start('#a');
	tab.socket.onopen();
	tab.socket.gets('OK STAMPS on', 'OK TAGS on', 'OK HELLO 1 box nonce', 'OK HELP', 'ERR NICK busy wait');
	await settled();
	assert.equal(tab.chat.connection.state, 'up');
	assert.match(tab.chat.refused, /Wait half a minute/);
});

test('a name that is chosen while the connection breaks is sent again on the next', async (t) => {
	const tab = new Tab(t, new Store(new Memory(), new Memory()));
	tab.chat.start('#a');
	tab.socket.onopen();
	tab.chat.enter('ann', '', '#a', '');
	tab.socket.onclose();
	await settled();
	assert.equal(tab.chat.phase, 'welcome');
	tab.chat.connection.retryNow();
	tab.socket.onopen();
	await settled();
	assert.ok(tab.socket.sent.some((line) => line.startsWith('NICK ann ')));
	const greeting = ['OK STAMPS on', 'OK TAGS on', 'OK HELLO 1 box nonce', 'OK HELP'];
	tab.socket.gets(...greeting, 'ERR NICK nick-taken choose another');
	await settled();
	assert.notEqual(tab.chat.refused, '');
	// A refused name is not tried again.
	tab.socket.onclose();
	tab.chat.connection.retryNow();
	tab.socket.onopen();
	await settled();
	assert.ok(!tab.socket.sent.some((line) => line.startsWith('NICK')));
	// A connection that breaks while the server's password is checked refuses nothing.
	tab.socket.gets(...greeting);
	tab.chat.enter('ann', '', '#a', 'of the server');
	tab.socket.onclose();
	await settled();
	assert.equal(tab.chat.phase, 'welcome');
});

test('a reload sends an unacknowledged message again with its nonce', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10 });
	tab.chat.sender.send(tab.room, 'hello');
	await settled();
	const line = tab.socket.sent.at(-1);
	assert.match(line, /^@nonce=\S+ TELL #a hello$/);
	tab.chat.sender.release();
	tab.chat.connection.stop();
	const again = new Tab(t, tab.store);
	await again.connect({ last: 11, history: [past(11, 'ann', 'hello')] });
	assert.ok(again.socket.sent.includes(line));
	again.socket.gets(`OK TELL 11 ${TIME}`);
	await settled();
	assert.deepEqual(again.ids, [11]);
	assert.deepEqual(again.chat.sender.outbox.entries, []);
});

test('a server without nonces is sent nothing twice: the user decides', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, can: 'history' });
	tab.chat.sender.send(tab.room, 'hello');
	await settled();
	assert.equal(tab.socket.sent.at(-1), 'TELL #a hello');
	await tab.connect({ last: 10, can: 'history' });
	assert.deepEqual(tab.told, []);
	const [entry] = tab.chat.sender.outbox.entries;
	assert.match(entry.error, /may not have arrived/);
	tab.chat.sender.retry(entry);
	assert.deepEqual(tab.told, ['TELL #a hello']);
});

test('what a registered user has read on another device is not unread here, also after a break', async (t) => {
	const tab = new Tab(t);
	const can = 'accounts tags';
	const notified = [];
	tab.chat.page.notify = (room, event) => notified.push(event.id);
	const history = [past(10, 'bob', 'ten'), past(11, 'bob', 'ann?'), past(12, 'bob', 'ann!')];
	await tab.connect({ can, last: 12, history, readers: ['READER #a me 11'] });
	assert.deepEqual([tab.room.unread, tab.room.mentions], [1, 1]);
	tab.socket.gets(live(13, 'bob', 'ann?!'));
	assert.deepEqual([tab.room.unread, notified.splice(0)], [2, [13]]);
	tab.socket.gets(`LIVE - ${TIME} SEEN #a ann 12 me`, `LIVE - ${TIME} SEEN #a ann 13 hourly`);
	assert.equal(tab.room.unread, 1);
	tab.socket.gets(`LIVE - ${TIME} SEEN #a ann 13 me`);
	assert.deepEqual([tab.room.unread, tab.room.mentions], [0, 0]);
	await tab.connect({ can, last: 15, past: [past(14, 'bob', 'ann'), past(15, 'bob', 'ann')], readers: ['READER #a me 14'] });
	assert.deepEqual([tab.room.unread, notified], [1, [15]]);
	// The user looks at the page here.
	tab.chat.seen();
	assert.equal(tab.socket.sent.at(-1), 'SEEN #a 15 AS me');
	assert.equal(tab.room.unread, 0);
});

test('a server with a new log is shown from its beginning', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, history: before });
	await tab.connect({ last: 2, history: [past(2, 'bob', 'new')] });
	assert.deepEqual(tab.ids, [2]);
});

test('the page asks again for a name that is taken, and keeps unsent messages', async (t) => {
	const tab = new Tab(t);
	tab.chat.sender.send(tab.room, 'early');
	tab.chat.start('#a');
	const { socket } = tab;
	socket.onopen();
	await settled();
	for (const line of socket.sent) {
		const [verb] = line.split(' ');
		if (verb === 'JOIN') socket.gets('OK JOIN #a 10');
		else if (verb === 'NICK') socket.gets('ERR NICK nick-taken ann is taken');
		else socket.gets(`OK ${verb} 1 box`);
	}
	await settled();
	assert.equal(tab.chat.phase, 'welcome');
	assert.match(tab.chat.refused, /^The name ann is taken\./);
	assert.deepEqual(tab.chat.sender.outbox.waiting().map(({ text }) => text), ['early']);
});

test('a message between NICK and JOIN is in its place among those that were missed', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, history: before });
	tab.socket.onclose();
	tab.chat.connection.retryNow();
	const { socket } = tab;
	socket.onopen();
	await settled();
	assert.ok(!socket.sent.some((line) => line.startsWith('JOIN')));
	// The server puts the name into the lobby, and sends its messages before the page asks for those that it missed.
	socket.gets('OK STAMPS on', 'OK TAGS on', 'OK HELLO 1 box', 'OK NICK ann #a 11', live(12, 'bob', 'twelve'));
	await settled();
	assert.ok(socket.sent.includes('JOIN #a 10'));
	socket.gets(past(11, 'bob', 'eleven'), past(12, 'bob', 'twelve'), 'OK JOIN #a 12');
	await settled();
	assert.deepEqual(tab.ids, [10, 11, 12]);
});

test('a user who has left the lobby leaves it again after reconnecting', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, current: '#lobby' });
	const { sent } = tab.socket;
	assert.ok(sent.indexOf('JOIN #a') < sent.indexOf('PART #lobby'));
	assert.deepEqual(tab.chat.all.map(({ name }) => name), ['#a']);
});

test('a room that is refused for a while stays in the list, with its draft and unsent messages', async (t) => {
	const tab = new Tab(t);
	const { store } = tab;
	store.keepDraft('#a', 'half a sentence');
	await tab.connect({ last: 10, history: before });
	await tab.connect({ refused: 'ERR JOIN not-allowed #a is closed' });
	assert.match(tab.room.shut, /#a is invite-only/);
	tab.chat.keepNow();
	assert.deepEqual(Object.keys(store.rooms), ['#a']);
	assert.equal(store.draft('#a'), 'half a sentence');
	await tab.connect({ last: 11, past: [past(11, 'bob', 'eleven')] });
	assert.equal(tab.room.shut, '');
	assert.deepEqual(tab.ids, [10, 11]);
	// The room becomes invite-only while ann is in it.
	tab.socket.gets('PART #a ann this room is closed to you now');
	assert.match(tab.room.shut, /no longer in #a/);
});

test('a duplicated tab does not send the messages of the first; those of a closed tab are sent once', async (t) => {
	const tab = new Tab(t);
	const { store } = tab;
	tab.chat.sender.send(tab.room, 'sent once');
	// The copy of a tab has the same storage while the first tab is open.
	assert.deepEqual(new Tab(t, store).chat.sender.outbox.entries, []);
	tab.chat.sender.release();
	const next = new Tab(t, store);
	assert.deepEqual(next.chat.sender.outbox.waiting().map(({ text }) => text), ['sent once']);
	// The user goes back to the first tab, which was only cached: it no longer has the message.
	tab.chat.sender.reclaim();
	assert.deepEqual(tab.chat.sender.outbox.entries, []);
	await tab.connect({ last: 10 });
	assert.deepEqual(tab.told, []);
	await next.connect({ last: 10 });
	assert.deepEqual(next.told, ['TELL #a sent once']);
	next.socket.gets(`OK TELL 11 ${TIME}`);
	await settled();
	assert.deepEqual(store.lines, []);
});

test('two tabs keep the rooms of both', (t) => {
	const tab = new Tab(t);
	const { store } = tab;
	const other = new Tab(t, store);
	store.keepRoom('#mine', 3);
	tab.chat.keepNow();
	other.chat.keepNow();
	assert.deepEqual(Object.keys(store.rooms).sort(), ['#a', '#mine']);
	store.dropRoom('#a');
	tab.chat.keepNow(); // this tab does not know yet that another one has left the room
	assert.deepEqual(Object.keys(store.rooms), ['#mine']);
});

test('a search says whether the server stopped early, and why it was refused', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10 });
	const replies = [[...before, 'OK SEARCH 1'], [...before, 'OK SEARCH 1 cut'], ['ERR SEARCH bad-syntax write it SEARCH <words>']];
	const found = [];
	for (const lines of replies) {
		const list = tab.chat.list('SEARCH #a before');
		tab.socket.gets(...lines);
		found.push(await list);
	}
	assert.deepEqual(found.map(({ events, isCut }) => [events.length, isCut]), [[1, false], [1, true], [0, false]]);
	assert.deepEqual(found.map(({ error }) => error), ['', '', 'Search for at least one word, and at most 16.']);
	tab.socket.onclose();
	assert.match((await tab.chat.list('SEARCH #a before')).error, /^You are offline/);
});

/** A direct message that the server has not saved. */
const unsaved = (to, nick, text, time = TIME) => `LIVE - ${time} MSG ${to} ${nick} ${text}`;

async function rename(tab, nick) {
	const renamed = tab.chat.rename(nick);
	tab.socket.gets(`OK NICK ${nick} #a`);
	assert.equal(await renamed, '');
}

test('direct messages to an earlier name that are deleted in another tab do not come back from a tab that was closed', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10 });
	tab.socket.gets(unsaved('ann', 'bob', 'psst'));
	await rename(tab, 'anna');
	const kept = () => tab.store.talks.map(([key, items]) => [key, items.map(({ text }) => text)]);
	assert.deepEqual(kept(), [['ann bob', ['psst']]]);
	tab.chat.keepNow();
	tab.chat.connection.stop();
	const other = new Tab(t, new Store(tab.store.browser, new Memory()));
	other.chat.deleteTalks();
	assert.deepEqual(kept(), []);
	const again = new Tab(t, tab.store);
	await again.connect({ last: 10 });
	await rename(again, 'ann');
	again.socket.gets(unsaved('ann', 'bob', 'once more'));
	again.chat.keepNow();
	assert.deepEqual(again.chat.room('bob').items.map(({ text }) => text), ['once more']);
	assert.deepEqual(kept(), [['ann bob', ['once more']]]);
});

test('a conversation is bounded also while the user reads further up', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10 });
	const bob = await tab.chat.open('bob');
	let isFollowing = false;
	tab.chat.page.isFollowing = () => isFollowing;
	for (let i = 0; i < 1500; i++) tab.socket.gets(unsaved('ann', 'bob', `message ${i}`));
	assert.equal(bob.items.length, PRIVATE_MAX + 1000); // what the page can have loaded above
	assert.equal(bob.items.at(-1).text, 'message 1499');
	isFollowing = true;
	tab.socket.gets(unsaved('ann', 'bob', 'the last'));
	assert.equal(bob.items.length, PRIVATE_MAX);
});

test('the direct messages that the user sent under an earlier name are found in their conversation', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10 });
	tab.socket.gets(unsaved('bob', 'ann', 'the harbour'), unsaved('ann', 'bob', 'which harbour?'));
	await rename(tab, 'anna');
	const found = tab.chat.unsaved(['harbour']);
	assert.deepEqual(found.map(({ text }) => text), ['the harbour', 'which harbour?']);
	assert.deepEqual(found.map((hit) => tab.chat.placeOf(hit)), ['bob', 'bob']);
});

test('blocked storage keeps things while the page is open', () => {
	const blocked = { get: () => { throw new Error('Access is denied'); }, configurable: true };
	Object.defineProperty(globalThis, 'localStorage', blocked);
	Object.defineProperty(globalThis, 'sessionStorage', blocked);
	const store = new Store();
	store.me = { nick: 'ann', password: 'x' };
	assert.deepEqual(store.me, { nick: 'ann', password: 'x' });
	assert.equal(store.password, store.password);
	store.forget();
	assert.equal(store.me, null);
	delete globalThis.localStorage;
	delete globalThis.sessionStorage;
});

test('who has reacted is asked once at a time, and again when a reaction arrives meanwhile', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, history: [past(10, 'bob', 'hi').replace('MSG', '@reacts=👍*1 MSG')] });
	const asked = () => tab.socket.sent.filter((line) => line === 'REACTS 10').length;
	const done = Promise.all([tab.chat.reacts(tab.room, 10), tab.chat.reacts(tab.room, 10)]);
	assert.equal(asked(), 1);
	tab.socket.gets(live(11, 'cy', '').replace(/MSG.*/, 'REACT #a cy 10 👍'), 'REACT 10 bob 👍', 'OK REACTS 1');
	await settled();
	assert.equal(asked(), 2);
	tab.socket.gets('REACT 10 bob 👍', 'REACT 10 cy 👍', 'OK REACTS 2');
	await done;
	assert.deepEqual(tab.room.items.at(-1).reacts, [{ emoji: '👍', count: 2, nicks: ['bob', 'cy'] }]);
});

test('a refused list of reactions is not requested again', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, history: [past(10, 'bob', 'hi').replace('MSG', '@reacts=👍*1 MSG')] });
	const isNeeded = () => tab.room.needsReacts(tab.room.items.at(-1));
	assert.equal(isNeeded(), true);
	const done = tab.chat.reacts(tab.room, 10);
	tab.socket.gets('ERR REACTS no-such-id there is no message 10');
	await done;
	assert.equal(isNeeded(), false);
});

test('a reply to a message that is gone is sent as an ordinary message when the user retries', async (t) => {
	const tab = new Tab(t);
	await tab.connect({ last: 10, history: before });
	tab.chat.sender.send(tab.room, 'me too', 'MSG', { reply: 10 });
	await settled();
	assert.match(tab.socket.sent.at(-1), /^@nonce=\w+;reply=10 TELL #a me too$/);
	tab.socket.gets('ERR TELL no-such-id there is no message 10');
	await settled();
	const [entry] = tab.chat.sender.outbox.entries;
	assert.equal(entry.error, 'The message you replied to no longer exists. Retry sends yours as an ordinary message.');
	tab.chat.sender.retry(entry);
	await settled();
	assert.match(tab.socket.sent.at(-1), /^@nonce=\w+ TELL #a me too$/);
	tab.socket.gets(`OK TELL 11 ${TIME}`);
	await settled();
	assert.deepEqual(tab.room.items.map(({ id, reply }) => [id, reply]), [[10, undefined], [11, undefined]]);
});

test('several lines are sent as one text, again with the same nonce, and become the messages that others see', async (t) => {
	const tab = new Tab(t);
	const can = 'multiline nonce reply tags';
	await tab.connect({ last: 10, can });
	tab.chat.sender.send(tab.room, 'it broke:\n\n  at é\n\n', 'MSG', { reply: 10 });
	await settled();
	const [line, bytes] = tab.socket.sent.slice(-2);
	assert.match(line, /^@nonce=\w+;reply=10 TEXT 18 #a$/);
	assert.equal(new TextDecoder().decode(bytes), 'it broke:\n\n  at é');
	await tab.connect({ last: 13, can, past: ['it broke:', '', '  at é'].map((text, i) => past(11 + i, 'ann', text)) });
	assert.equal(tab.socket.sent.at(-2), line);
	tab.socket.gets(`OK TEXT 11 ${TIME} 3`);
	await settled();
	assert.deepEqual(tab.room.items.map(({ id, text }) => [id, text]), [[11, 'it broke:'], [12, ''], [13, '  at é']]);
	tab.chat.sender.send(tab.room, 'a\nb');
	await settled();
	tab.socket.gets(`OK TEXT 14 ${TIME} 2`);
	await settled();
	assert.ok(tab.room.items.every(({ time }) => time > 0));
	tab.socket.gets(live(16, 'ann', '').replace(/MSG.*/, 'REMOVE #a ann 14'));
	await settled();
	assert.deepEqual(tab.room.items.slice(-2).map((item) => [item.id, item.text, tab.room.isRemoved(item)]), [[14, 'a', true], [15, 'b', true]]);
	// A last line that is empty once it is cleaned is not sent. The server says how many messages there are.
	tab.chat.sender.send(tab.room, 'ok\nb\n\x1b[0m');
	await settled();
	assert.match(tab.socket.sent.at(-2), / TEXT 4 #a$/);
	tab.socket.gets(`OK TEXT 17 ${TIME} 2`);
	await settled();
	tab.socket.gets(live(19, 'bob', 'next'));
	await settled();
	assert.deepEqual(tab.ids.slice(-3), [17, 18, 19]);
	tab.chat.sender.send(tab.room, 'c\nd\ne');
	await settled();
	tab.socket.gets(`OK TEXT 20 ${TIME} 2`);
	await settled();
	assert.deepEqual(tab.ids.slice(-3), [19, 20, 21]);
	// A message that is too long for `TEXT` is sent line by line.
	tab.chat.sender.send(tab.room, `${'x'.repeat(4001)}\nb`);
	await settled();
	assert.ok(tab.told.length >= 2);
});
