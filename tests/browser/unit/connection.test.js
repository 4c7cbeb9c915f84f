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
	const page = { changed() {}, toast() {}, said() {}, called() {}, entered() {}, isLooking: () => false, isFollowing: () => true };
	const store = new Store(new Storage(), new Storage());
	store.me = { nick: 'ann', password: 'secret' };
	store.rooms = { '#a': 10 };
	const made = new Chat({ url: 'ws://x/ws', open: () => (sockets.push(new Socket()), sockets.at(-1)), store, page });
	made.start('#a');
	return { made, sockets, store };
}

/** Answers what the page asks at a start or a return, with `past` for `JOIN`. */
async function answer(socket, { last, past = [], history = [] }) {
	let asked = 0;
	for (let turn = 0; turn < 20; turn++) {
		await settled();
		while (asked < socket.sent.length) {
			const [verb, arg] = socket.sent[asked++].split(' ');
			if (verb === 'STAMPS') socket.gets('OK STAMPS on');
			else if (verb === 'HELLO') socket.gets('OK HELLO 1 box');
			else if (verb === 'HELP') socket.gets('HELP kept', 'OK HELP');
			else if (verb === 'JOIN') socket.gets(...past, `OK JOIN ${arg} ${last}`);
			else if (verb === 'NICK') socket.gets(`OK NICK ${arg} #a ${last}`);
			else if (verb === 'HISTORY') socket.gets(...history, `OK HISTORY ${history.length}`);
			else if (verb === 'WHO') socket.gets('USER #a ann', 'OK WHO 1');
			else if (verb === 'TOPIC') socket.gets('OK TOPIC #a');
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
	assert.ok(sockets[1].sent.indexOf('JOIN #a 11') < sockets[1].sent.indexOf('NICK ann secret'));
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
	made.keepNow();
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
	assert.equal(made.refused, 'ann is taken');
	assert.deepEqual(made.outbox.waiting().map(({ text }) => text), ['early']);
	made.connection.stop();
});
