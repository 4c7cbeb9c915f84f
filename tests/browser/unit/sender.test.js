// Which tab of the browser sends a message.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Sender } from '../../../src/web/sender.js';
import { Memory, Store } from '../../../src/web/store.js';

/** A storage like that of the browser, which may be full. */
class Storage extends Memory {
	setItem(key, value) {
		if (Storage.isFull) throw new Error('QuotaExceededError');
		super.setItem(key, value);
	}
}

/** A tab whose connection accepts every message. `said` has the lines that it has sent. */
function tab() {
	const said = [];
	const room = { name: '#lobby', lastId: 0, push() {} };
	const chat = {
		isReady: true, nick: 'ann', can: new Set(), store: new Store(new Storage(), new Storage()), tabs: { id: 'one' }, away: { set() {} }, page: { changed() {} },
		connection: { request: async (line) => (said.push(line), { ok: true, text: '1 2026-01-01T00:00:00Z' }) },
		add: () => room, trim() {}, keep() {}, keepNow: () => sender.keep(),
	};
	const sender = new Sender(chat);
	return { said, chat, sender, room };
}

test('a message is sent although the browser has no space to save it', (t) => {
	t.after(() => (Storage.isFull = false));
	const { said, sender, room } = tab();
	Storage.isFull = true;
	sender.send(room, 'hello');
	assert.deepEqual(said.map((line) => line.trim()), ['TELL #lobby hello']);
});

test('a message that another tab has taken over is not sent', () => {
	const { said, chat, sender, room } = tab();
	chat.isReady = false;
	sender.send(room, 'hello');
	const [{ id, ...line }] = chat.store.lines;
	chat.store.keepLine(id, { ...line, owner: 'two' });
	chat.isReady = true;
	sender.flush();
	assert.deepEqual(said, []);
	assert.deepEqual(sender.outbox.entries, []);
});
