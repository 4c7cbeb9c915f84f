// A connection that breaks and comes back, on a socket of our own.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Chat } from '../../../src/web/chat.js';
import { Connection, pauseMs } from '../../../src/web/connection.js';
import { Store } from '../../../src/web/store.js';

const TIME = '2026-11-22T11:22:05.007Z';

class Socket {
	sent = [];
	isClosed = false;
	send(line) {
		this.sent.push(line);
	}
	close() {
		this.isClosed = true;
	}
	gets(...lines) {
		for (const data of lines) this.onmessage({ data });
	}
}

/** All that is waiting to run has run. */
const settled = () => new Promise((done) => setImmediate(done));

test('pauses grow, differ and stay below half a minute', () => {
	assert.equal(pauseMs(0, () => 0), 250);
	assert.equal(pauseMs(0, () => 1), 500);
	assert.equal(pauseMs(3, () => 1), 4000);
	assert.equal(pauseMs(1000, () => 1), 30_000);
});

function connection() {
	const sockets = [];
	const told = [];
	const made = new Connection({
		url: 'ws://x/ws',
		open: () => (sockets.push(new Socket()), sockets.at(-1)),
		onup: () => told.push('up'),
		ondown: () => told.push('down'),
		onevent: (event) => told.push(event.kind),
	});
	made.start();
	return { made, sockets, told };
}

test('replies go to their requests in order, lists with them', async () => {
	const { made, sockets, told } = connection();
	sockets[0].onopen();
	const parts = [];
	const rooms = made.request('ROOMS', (part) => parts.push(part.room));
	const ping = made.request('PING');
	sockets[0].gets('ROOM #a 1', `LIVE 3 ${TIME} MSG #a bob hi`, 'ROOM #b 2', 'OK ROOMS 2', 'ERR PING bad-syntax no');
	assert.equal((await rooms).text, '2');
	assert.equal((await ping).code, 'bad-syntax');
	assert.deepEqual(parts, ['#a', '#b']);
	assert.deepEqual(told, ['up', 'live']);
	made.stop();
});

test('a broken connection leaves no request waiting', async () => {
	const { made, sockets, told } = connection();
	sockets[0].onopen();
	const ping = made.request('PING');
	sockets[0].onclose();
	assert.equal(await ping, null);
	assert.equal(await made.request('PING'), null);
	assert.deepEqual(told, ['up', 'down']);
	assert.equal(made.state, 'down');
	made.retryNow();
	assert.equal(sockets.length, 2);
	// What an old socket still says is nobody's.
	sockets[0].onmessage({ data: `LIVE 3 ${TIME} MSG #a bob hi` });
	assert.deepEqual(told, ['up', 'down']);
	made.stop();
});

test('who was sent away does not come back by himself', () => {
	const { made, sockets } = connection();
	sockets[0].onopen();
	sockets[0].gets('CLOSED banned go away');
	sockets[0].onclose();
	assert.equal(made.state, 'ended');
	assert.equal(made.retryAt, null);
});

// ---- the whole conversation on such a socket

class Storage {
	getItem(key) {
		return this[key] ?? null;
	}
	setItem(key, value) {
		this[key] = value;
	}
	removeItem(key) {
		delete this[key];
	}
}

function chat() {
	const sockets = [];
	const page = { changed() {}, toast() {}, said() {}, called() {}, entered() {}, invited() {}, draft() {}, forgotten() {}, isLooking: () => false, isFollowing: () => true };
	const store = new Store(new Storage(), new Storage());
	store.me = { nick: 'ann', password: 'secret' };
	store.keepRoom('#a', 10);
	const made = new Chat({ url: 'ws://x/ws', open: () => (sockets.push(new Socket()), sockets.at(-1)), store, page });
	made.start('#a');
	return { made, sockets, store };
}

/** Answers what the page asks at a start or a return, with `past` for `JOIN`. */
async function answer(socket, { last, past = [], history = [], refused = null, current = '#a' }) {
	let asked = 0;
	for (let turn = 0; turn < 20; turn++) {
		await settled();
		while (asked < socket.sent.length) {
			const [verb, arg] = socket.sent[asked++].split(' ');
			if (verb === 'STAMPS') socket.gets('OK STAMPS on');
			else if (verb === 'HELLO') socket.gets('OK HELLO 1 box');
			else if (verb === 'HELP') socket.gets('HELP kept', 'OK HELP');
			else if (verb === 'JOIN') socket.gets(...past, refused ?? `OK JOIN ${arg} ${last}`);
			else if (verb === 'NICK') socket.gets(`OK NICK ${arg} ${current} ${last}`);
			else if (verb === 'HISTORY') socket.gets(...history, `OK HISTORY ${history.length}`);
			else if (verb === 'WHO') socket.gets('USER #a ann', 'OK WHO 1');
			else if (verb === 'TOPIC') socket.gets('OK TOPIC #a');
			else if (verb === 'MODE') socket.gets('OK MODE #a open');
			else if (verb === 'PART') socket.gets(`OK PART ${arg}`);
			else return; // the test answers the rest
		}
	}
}

test('a return asks for what came after the last id, and says again only what was lost', async () => {
	const { made, sockets } = chat();
	sockets[0].onopen();
	await answer(sockets[0], { last: 10, history: [`PAST 10 ${TIME} MSG #a bob before`] });
	const room = made.room('#a');
	assert.deepEqual(room.items.map(({ id }) => id), [10]);
	sockets[0].gets(`LIVE 11 ${TIME} MSG #a bob eleven`);
	made.say(room, 'arrived');
	made.say(room, 'lost');
	await settled();
	assert.deepEqual(sockets[0].sent.slice(-2), ['TELL #a arrived', 'TELL #a lost']);
	sockets[0].onclose();
	made.say(room, 'typed while away');
	made.connection.retryNow();
	sockets[1].onopen();
	await answer(sockets[1], { last: 13, past: [`PAST 12 ${TIME} MSG #a ann arrived`, `PAST 13 ${TIME} MSG #a bob thirteen`] });
	assert.ok(sockets[1].sent.includes('JOIN #a 11'));
	assert.ok(sockets[1].sent.indexOf('JOIN #a 11') > sockets[1].sent.indexOf('NICK ann secret'));
	assert.deepEqual(sockets[1].sent.filter((line) => line.startsWith('TELL')), ['TELL #a lost', 'TELL #a typed while away']);
	sockets[1].gets(`OK TELL 14 ${TIME}`, `OK TELL 15 ${TIME}`);
	await settled();
	assert.deepEqual(room.items.map(({ id }) => id), [10, 11, 12, 13, 14, 15]);
	assert.deepEqual(made.outbox.entries, []);
	made.connection.stop();
});

test('a reload with something unanswered asks from where it was said', async () => {
	const { made, sockets, store } = chat();
	sockets[0].onopen();
	await answer(sockets[0], { last: 10 });
	made.say(made.room('#a'), 'hello');
	await settled();
	made.release();
	made.connection.stop();
	const open = [];
	const page = made.page;
	const again = new Chat({ url: 'ws://x/ws', open: () => (open.push(new Socket()), open.at(-1)), store, page });
	again.start('#a');
	open[0].onopen();
	await answer(open[0], { last: 11, past: [`PAST 11 ${TIME} MSG #a ann hello`] });
	assert.ok(open[0].sent.includes('JOIN #a 10'));
	assert.deepEqual(open[0].sent.filter((line) => line.startsWith('TELL')), []);
	assert.deepEqual(again.outbox.entries, []);
	again.connection.stop();
});

test('another log than before is begun anew', async () => {
	const { made, sockets } = chat();
	sockets[0].onopen();
	await answer(sockets[0], { last: 10, history: [`PAST 10 ${TIME} MSG #a bob before`] });
	sockets[0].onclose();
	made.connection.retryNow();
	sockets[1].onopen();
	await answer(sockets[1], { last: 2, history: [`PAST 2 ${TIME} MSG #a bob new`] });
	assert.deepEqual(made.room('#a').items.map(({ id }) => id), [2]);
	made.connection.stop();
});

test('a name that is taken is asked for again, and nothing that was said is lost', async () => {
	const { made, sockets } = chat();
	made.say(made.room('#a'), 'early');
	sockets[0].onopen();
	await settled();
	const socket = sockets[0];
	for (const line of socket.sent) {
		const [verb] = line.split(' ');
		if (verb === 'JOIN') socket.gets('OK JOIN #a 10');
		else if (verb === 'NICK') socket.gets('ERR NICK nick-taken ann is taken');
		else socket.gets(`OK ${verb} 1 box`);
	}
	await settled();
	assert.equal(made.phase, 'welcome');
	assert.match(made.refused, /^The name ann is taken\./);
	assert.deepEqual(made.outbox.waiting().map(({ text }) => text), ['early']);
	made.connection.stop();
});

test('what is said between the name and the room is in its place among what was missed', async () => {
	const { made, sockets } = chat();
	sockets[0].onopen();
	await answer(sockets[0], { last: 10, history: [`PAST 10 ${TIME} MSG #a bob before`] });
	sockets[0].onclose();
	made.connection.retryNow();
	sockets[1].onopen();
	await settled();
	assert.ok(!sockets[1].sent.some((line) => line.startsWith('JOIN')));
	// The name enters the lobby by itself, and hears of it before the room is asked for what was missed.
	sockets[1].gets('OK STAMPS on', 'OK HELLO 1 box', 'OK NICK ann #a 11', `LIVE 12 ${TIME} MSG #a bob twelve`);
	await settled();
	assert.ok(sockets[1].sent.includes('JOIN #a 10'));
	sockets[1].gets(`PAST 11 ${TIME} MSG #a bob eleven`, `PAST 12 ${TIME} MSG #a bob twelve`, 'OK JOIN #a 12');
	await settled();
	assert.deepEqual(made.room('#a').items.map(({ id }) => id), [10, 11, 12]);
	made.connection.stop();
});

test('who has left the lobby leaves it again after a return', async () => {
	const { made, sockets } = chat();
	sockets[0].onopen();
	await answer(sockets[0], { last: 10, current: '#lobby' });
	const { sent } = sockets[0];
	assert.ok(sent.indexOf('JOIN #a') < sent.indexOf('PART #lobby'));
	assert.deepEqual(made.all.map(({ name }) => name), ['#a']);
	made.connection.stop();
});

test('a room that is refused for a moment keeps its place, its draft and what waits', async () => {
	const { made, sockets, store } = chat();
	store.keepDraft('#a', 'half a sentence');
	sockets[0].onopen();
	await answer(sockets[0], { last: 10, history: [`PAST 10 ${TIME} MSG #a bob before`] });
	sockets[0].onclose();
	made.connection.retryNow();
	sockets[1].onopen();
	await answer(sockets[1], { refused: 'ERR JOIN not-allowed #a is closed' });
	const room = made.room('#a');
	assert.match(room.shut, /#a is invite-only/);
	made.keepNow();
	assert.deepEqual(Object.keys(store.rooms), ['#a']);
	assert.equal(store.draft('#a'), 'half a sentence');
	sockets[1].onclose();
	made.connection.retryNow();
	sockets[2].onopen();
	await answer(sockets[2], { last: 11, past: [`PAST 11 ${TIME} MSG #a bob eleven`] });
	assert.equal(room.shut, '');
	assert.deepEqual(room.items.map(({ id }) => id), [10, 11]);
	// Put out while one is there.
	sockets[2].gets('PART #a ann this room is closed to you now');
	assert.match(room.shut, /no longer in #a/);
	made.connection.stop();
});

test('a duplicated tab does not send what the first one sends; one that is left behind is sent once', async () => {
	const { made, sockets, store } = chat();
	made.say(made.room('#a'), 'said once');
	// The copy sees the same storage while the first is there.
	const others = [];
	const tab = () => new Chat({ url: 'ws://x/ws', open: () => (others.push(new Socket()), others.at(-1)), store, page: made.page });
	const copy = tab();
	assert.deepEqual(copy.outbox.entries, []);
	made.release();
	const next = tab();
	assert.deepEqual(next.outbox.waiting().map(({ text }) => text), ['said once']);
	// The first is shown again (it was only put aside): it no longer has that line.
	made.reclaim();
	assert.deepEqual(made.outbox.entries, []);
	sockets[0].onopen();
	await answer(sockets[0], { last: 10 });
	assert.deepEqual(sockets[0].sent.filter((line) => line.startsWith('TELL')), []);
	next.start('#a');
	others.at(-1).onopen();
	await answer(others.at(-1), { last: 10 });
	assert.deepEqual(others.at(-1).sent.filter((line) => line.startsWith('TELL')), ['TELL #a said once']);
	others.at(-1).gets(`OK TELL 11 ${TIME}`);
	await settled();
	assert.deepEqual(store.lines, []);
	made.connection.stop();
	next.connection.stop();
});

test('two tabs keep the rooms of both', () => {
	const { made, store } = chat();
	const other = new Chat({ url: 'ws://x/ws', open: () => new Socket(), store, page: made.page });
	other.phase = 'in';
	store.keepRoom('#mine', 3);
	made.keepNow();
	other.keepNow();
	assert.deepEqual(Object.keys(store.rooms).sort(), ['#a', '#mine']);
	store.dropRoom('#a');
	made.keepNow(); // it has not heard of that yet
	assert.deepEqual(Object.keys(store.rooms), ['#mine']);
	made.connection.stop();
});

test('storage that is blocked keeps things while the page is open', () => {
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
