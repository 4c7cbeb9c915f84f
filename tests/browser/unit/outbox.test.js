// A message is sent once, whatever the connection does.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Outbox } from '../../../src/web/outbox.js';

const MINUTE = 60_000;
const states = ({ entries }) => entries.map(({ state }) => state);

function said(...lines) {
	const outbox = new Outbox();
	for (const [to, text, after] of lines) outbox.sent(outbox.add(to, 'MSG', text, after, 0), 'ann', 0);
	return outbox;
}

test('a message that was never sent waits', () => {
	const outbox = new Outbox();
	outbox.add('#a', 'MSG', 'hello', 3, 0);
	outbox.lost();
	outbox.resume('ann', 60 * MINUTE, false);
	assert.deepEqual(states(outbox), ['waiting']);
});

test('an unacknowledged message is sent again while the server would recognise it', () => {
	for (const [nick, now, hasNonces, state] of [
		['ann', 8 * MINUTE, true, 'waiting'],
		['ann', 10 * MINUTE, true, 'failed'],
		['bob', 0, true, 'failed'], // a nonce belongs to a nick
		['ann', 0, false, 'failed'],
	]) {
		const outbox = said(['#a', 'yes', 3]);
		outbox.lost();
		assert.deepEqual(states(outbox), ['unsure']);
		outbox.resume(nick, now, hasNonces);
		assert.deepEqual(states(outbox), [state], `${nick} ${now} ${hasNonces}`);
	}
});

test('the time is counted from when a message was first sent, until the user sends it once more', () => {
	const outbox = said(['#a', 'yes', 3]);
	const [entry] = outbox.entries;
	const breaks = (at) => {
		outbox.lost();
		outbox.resume('ann', at, true);
		if (entry.state === 'waiting') outbox.sent(entry, 'ann', at);
	};
	breaks(8 * MINUTE);
	breaks(16 * MINUTE);
	assert.equal(entry.state, 'failed');
	outbox.retry(entry);
	outbox.sent(entry, 'ann', 20 * MINUTE);
	breaks(21 * MINUTE);
	assert.equal(entry.state, 'sent');
});

test('a direct message that the server does not log is not sent again automatically', () => {
	const outbox = said(['bob', 'psst', 0], ['bob', 'logged', 7]);
	outbox.lost();
	assert.deepEqual(states(outbox), ['failed', 'unsure']);
	assert.deepEqual(outbox.waiting(), []);
});

test('a reload is like a broken connection', () => {
	const outbox = said(['#a', 'sent', 3]);
	outbox.add('#a', 'MSG', 'not yet', 3, 0);
	const again = new Outbox(JSON.parse(JSON.stringify(outbox.entries)));
	assert.deepEqual(states(again), ['unsure', 'waiting']);
	assert.deepEqual(again.entries.map(({ id }) => id), outbox.entries.map(({ id }) => id));
});
