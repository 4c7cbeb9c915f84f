// A message is sent once, whatever the connection does.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Outbox } from '../../../src/web/outbox.js';

const texts = (entries) => entries.map(({ text }) => text);

function said(...lines) {
	const outbox = new Outbox();
	for (const [to, text, after] of lines) outbox.add(to, 'MSG', text, after, 0).state = 'sent';
	return outbox;
}

test('a message that was never sent waits', () => {
	const outbox = new Outbox();
	outbox.add('#a', 'MSG', 'hello', 3, 0);
	outbox.lost();
	assert.deepEqual(texts(outbox.waiting()), ['hello']);
	assert.equal(outbox.unsureAfter('#a'), undefined);
});

test('an unacknowledged message that is replayed has arrived', () => {
	const outbox = said(['#a', 'one', 3], ['#a', 'two', 3]);
	outbox.lost();
	assert.deepEqual(outbox.waiting(), []);
	assert.equal(outbox.unsureAfter('#a'), 3);
	outbox.settle('#a', [{ id: 4, verb: 'MSG', text: 'one' }]);
	assert.deepEqual(texts(outbox.waiting()), ['two']);
});

test('a message that was sent twice is replayed twice', () => {
	const outbox = said(['#a', 'yes', 3], ['#a', 'yes', 3]);
	outbox.lost();
	outbox.settle('#a', [{ id: 4, verb: 'MSG', text: 'yes' }]);
	assert.deepEqual(texts(outbox.entries), ['yes']);
});

test('an older message with the same text settles nothing', () => {
	const outbox = said(['#a', 'yes', 5]);
	outbox.lost();
	outbox.settle('#a', [{ id: 5, verb: 'MSG', text: 'yes' }, { id: 6, verb: 'ME', text: 'yes' }]);
	assert.deepEqual(texts(outbox.waiting()), ['yes']);
});

test('another room settles nothing', () => {
	const outbox = said(['#a', 'yes', 5], ['#b', 'no', 7]);
	outbox.lost();
	outbox.settle('#b', [{ id: 8, verb: 'MSG', text: 'yes' }]);
	assert.deepEqual(outbox.entries.map(({ state }) => state), ['unsure', 'waiting']);
});

test('a direct message is not sent again automatically', () => {
	const outbox = said(['bob', 'psst', 0]);
	outbox.lost();
	assert.equal(outbox.entries[0].state, 'failed');
	assert.deepEqual(outbox.waiting(), []);
});

test('a reload is like a broken connection', () => {
	const outbox = said(['#a', 'sent', 3]);
	outbox.add('#a', 'MSG', 'not yet', 3, 0);
	const again = new Outbox(JSON.parse(JSON.stringify(outbox.entries)));
	assert.deepEqual(again.entries.map(({ state }) => state), ['unsure', 'waiting']);
});
