// The direct messages that the browser keeps because the server does not.

import assert from 'node:assert/strict';
import test from 'node:test';
import { PRIVATE_MAX, keepable, merged, newest, superfluous } from '../../../src/web/talks.js';

const said = (nick, time, text = `${nick} at ${time}`) => ({ verb: 'MSG', room: nick === 'ann' ? 'bob' : 'ann', nick, text, time, id: null });
const texts = (items) => items.map(({ text }) => text);

test('only unsaved messages from or to the nick are kept', () => {
	const items = [said('bob', 1), { ...said('bob', 2), id: 7 }, { verb: 'NOTE', text: 'a gap', time: null, id: null }, { ...said('bob', 3), room: 'anna' }, { ...said('ann', 4), key: 'x3', count: 2 }];
	assert.deepEqual(keepable(items, 'Ann'), [said('bob', 1), { ...said('ann', 4), count: 2 }]);
});

test('what two tabs know is joined, each message once', () => {
	const [one, two, three] = [said('bob', 1), said('ann', 2), said('ann', 3)];
	assert.deepEqual(merged([one, two], [one, three]), [one, two, three]);
	assert.deepEqual(merged([], [two, one]), [one, two]);
	const lines = [said('bob', 5, 'a'), said('bob', 5, ''), said('bob', 5, '')];
	assert.deepEqual(merged(lines, lines.slice(0, 2)), lines);
	assert.deepEqual(merged(lines.slice(0, 1), lines), lines);
});

test('the number and the size of kept messages are bounded', () => {
	const many = Array.from({ length: 500 }, (_, i) => said('bob', i + 1));
	assert.deepEqual(newest(many), many.slice(-PRIVATE_MAX));
	const long = many.map((item) => ({ ...item, text: 'x'.repeat(4000) }));
	assert.equal(newest(long).length, 12);
	assert.deepEqual(texts(newest([...long.slice(0, 1), said('bob', 1, 'y'), ...long.slice(1, 13)])).filter((text) => text === 'y'), [], 'a text of several lines stays whole');
	const lines = Array.from({ length: 16 }, (_, i) => ({ ...said('bob', 9, 'z'.repeat(3900)), ...(!i && { count: 16 }) }));
	assert.deepEqual(newest([said('bob', 1), ...lines]), lines.slice(-12), 'of a text that is too long, the end is kept');
	const talks = Array.from({ length: 25 }, (_, i) => [`user${i}`, [said('bob', 100 - i)]]);
	assert.deepEqual(superfluous([...talks, ['gone', []]]), ['user20', 'user21', 'user22', 'user23', 'user24']);
});
