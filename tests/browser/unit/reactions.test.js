// Who has reacted to a message and how, from tags, events and lists.

import assert from 'node:assert/strict';
import test from 'node:test';
import { EMOJI, findEmoji, isEmoji, replaceName } from '../../../src/web/emoji.js';
import { hasReacted, isKnown, listed, reacted, whoText } from '../../../src/web/reactions.js';
import { Room } from '../../../src/web/room.js';
import { parse } from '../../../src/web/wire.js';

const reactsOf = (value) => parse(`PAST 1 2026-11-22T11:22:05.007Z @reacts=${value} MSG #a ann hi`).reacts;
const brief = (list = []) => list.map(({ emoji, count }) => `${emoji}${count}`).join(' ');
const add = (list, nick, emoji = '👍') => reacted(list, { verb: 'REACT', nick, emoji });
const drop = (list, nick, emoji = '👍') => reacted(list, { verb: 'UNREACT', nick, emoji });

test('a tag gives the numbers; a bad one gives less', () => {
	assert.equal(brief(reactsOf('👍*3,🎉*1')), '👍3 🎉1');
	assert.equal(brief(reactsOf('👍*x,*3,🎉,👀*-1,%F0%9F%91%8D*2')), '👍2');
	assert.equal(reactsOf(Array.from({ length: 100 }, (_, i) => `${i}*1`).join()).length, 20);
});

test('a reaction counts once for each user', () => {
	const list = add(add(add([], 'ann'), 'bob'), 'ANN');
	assert.equal(brief(list), '👍2');
	assert.ok(hasReacted(list, '👍', 'Ann') && !hasReacted(list, '👍', 'carol') && !hasReacted(list, '🎉', 'ann'));
	assert.equal(whoText(list[0], 'ann'), 'bob and you');
	assert.equal(whoText(list[0], 'carol'), 'bob and ANN');
	assert.equal(brief(drop(drop(list, 'bob'), 'bob')), '👍1');
	assert.deepEqual(drop(drop(list, 'bob'), 'ann'), []);
	assert.deepEqual(drop([], 'bob'), []);
});

test('what a tag says is counted on, until it is known who has reacted', () => {
	const list = add(reactsOf('👍*3'), 'bob');
	assert.equal(brief(list), '👍4');
	assert.equal(isKnown(list), false);
	assert.equal(whoText(list[0], 'ann'), '4 people');
	assert.equal(brief(listed([{ nick: 'bob', emoji: '👍' }, { nick: 'ann', emoji: '🎉' }, { nick: 'cy', emoji: '👍' }])), '👍2 🎉1');
	let many = [];
	for (let i = 0; i < 50; i++) many = add(many, 'bob', `${i}`);
	assert.equal(many.length, 20);
});

test('a room counts each reaction once, whether it comes live, in a tag or after a break', () => {
	const room = new Room('#a');
	room.reset(10);
	const message = (id, more) => ({ kind: 'past', verb: 'MSG', room: '#a', nick: 'ann', text: 'hi', id, time: id, ...more });
	const react = (id, kind, target, nick) => ({ kind, verb: 'REACT', room: '#a', nick, target, emoji: '👍', id, time: id });
	room.push(react(11, 'live', 5, 'bob')); // message 5 is not loaded yet
	room.prepend([message(4), message(5, { reacts: reactsOf('👍*1') }), react(6, 'past', 5, 'bob')], true);
	assert.equal(brief(room.items[1].reacts), '👍1');
	assert.equal(room.needsReacts(room.items[1]), true);
	assert.equal(room.needsReacts(room.items[0]), false);
	room.push(react(12, 'live', 4, 'bob'));
	room.push(react(12, 'live', 4, 'bob'));
	assert.equal(brief(room.items[0].reacts), '👍1');
	room.connections += 1;
	room.push(react(13, 'past', 4, 'carol'));
	room.push(message(14, { reacts: reactsOf('👍*1') }));
	room.push(react(15, 'past', 14, 'carol'));
	assert.deepEqual(room.items.map(({ reacts }) => brief(reacts)), ['👍2', '👍1', '👍1']);
	for (let id = 20; id < 2000; id++) room.push(react(id, 'live', id + 5000, 'bob'));
	assert.ok(room.reactedTo.size <= 100);
});

test('a reaction to a message that a reload has restored is counted', () => {
	const room = new Room('bob');
	room.restore([{ verb: 'MSG', room: 'bob', nick: 'ann', text: 'hi', id: 4, time: 4 }]);
	room.push({ kind: 'past', verb: 'REACT', room: 'bob', nick: 'bob', target: 4, emoji: '👍', id: 5, time: 5 });
	assert.equal(brief(room.items[0].reacts), '👍1');
});

test('emoji are found by name, and are one character each', () => {
	assert.equal(findEmoji('smile')[0].emoji, '😄');
	assert.equal(findEmoji('ROCK')[0].emoji, '🚀');
	assert.deepEqual(findEmoji('no such thing'), []);
	for (const { emoji } of EMOJI) assert.ok(isEmoji(emoji), emoji);
	for (const text of ['👩‍👩‍👧‍👦', '🏴󠁧󠁢󠁳󠁣󠁴󠁿', '🇫🇷', '👍🏽']) assert.ok(isEmoji(text), text);
	for (const text of ['', 'a', '1', '*', ',', ' ', 'é', '日', '👍👍', '👍 ', '\u202e', '👍\n']) assert.ok(!isEmoji(text), JSON.stringify(text));
	assert.deepEqual(replaceName('so :smile: it', 10), { text: 'so 😄 it', caret: 5 });
	assert.equal(replaceName('at 10:30:', 9), null);
	assert.equal(replaceName('std::time:', 10), null);
	assert.deepEqual(replaceName(':smile:', 7), { text: '😄', caret: 2 });
});

test('an older browser without Intl.Segmenter finds emoji too', async (t) => {
	const { Segmenter } = Intl;
	t.after(() => (Intl.Segmenter = Segmenter));
	delete Intl.Segmenter;
	const older = await import('../../../src/web/emoji.js?older');
	assert.equal(older.findEmoji('smile')[0].emoji, '😄');
	assert.ok(older.isEmoji('👍') && !older.isEmoji('') && !older.isEmoji('👍👍'));
});
