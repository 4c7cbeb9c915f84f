// Parts of a message's text, commands and completion.

import assert from 'node:assert/strict';
import test from 'node:test';
import { ends, fences, isAligned, joined, sections } from '../../../src/web/blocks.js';
import { complete, understand } from '../../../src/web/commands.js';
import { hue, initials, mentions, parts, size } from '../../../src/web/text.js';

const known = { me: 'ann', isNick: (nick) => nick === 'bob', isRoom: (name) => name === '#ops' };

function check(text, ...expected) {
	test(`parts of ${JSON.stringify(text)}`, () => {
		const found = parts(text, known);
		assert.equal(found.map((part) => part.text).join(''), text);
		assert.deepEqual(found.filter(({ type }) => type !== 'text').map(({ type, text }) => `${type} ${text}`), expected);
	});
}

check('just words');
check('see https://a.example/b?c=d#e.', 'link https://a.example/b?c=d#e');
check('(https://a.example/b_(c)) and http://b.example', 'link https://a.example/b_(c)', 'link http://b.example');
check('"https://a.example/x", she said', 'link https://a.example/x');
check('javascript:alert(1) data:text/html,x ftp://x file:///etc');
check('https:// http://');
check('www.a.example, WWW.b.example/x?y. (www.c.example)', 'link www.a.example', 'link WWW.b.example/x?y', 'link www.c.example');
check('www. www.x www..x xwww.a.example a.www.b.example @www.c.example www./x.y');
check('mail mailto:bob@x.example?subject=a%20b, or mailto:', 'link mailto:bob@x.example?subject=a%20b');
check('mailto:javascript:alert(1) xmailto:bob@x.example www.javascript:alert(1)//.x');
check('<img src=x onerror=alert(1)> <a href="https://x.example">', 'link https://x.example');
check('ann: hello, Ann! anna annika @ann', 'me ann', 'me Ann', 'me @ann');
check('@bob @nobody bob', 'nick @bob');
check('@room: look');
test('@room is marked if the message is for all', () => {
	const found = parts('@room: look, @Room. @roomy me@room.example room', { me: 'ann', isForAll: true });
	assert.deepEqual(found.filter(({ type }) => type === 'me').map(({ text }) => text), ['@room', '@Room']);
});
check('#ops #ops. #nowhere x#ops https://x.example/#ops', 'room #ops', 'room #ops', 'link https://x.example/#ops');
check('`code https://x.example ann` ann', 'code `code https://x.example ann`', 'me ann');
check('` alone');
check('``` a fence in a line```', 'code ``` a fence in a line```');
check('``two` ```three``');

test('a name is mentioned only as a whole word', () => {
	assert.ok(mentions('hey ANN, look', 'ann'));
	assert.ok(mentions('@ann', 'ann'));
	assert.ok(!mentions('annual banana', 'ann'));
	assert.ok(mentions('zoë?', 'Zoë'));
	assert.ok(!mentions('anything', ''));
});

test('sizes are short', () => {
	assert.deepEqual([0, 999, 1000, 48213, 999_949, 1_234_567, 4_294_967_296].map(size),
		['0 B', '999 B', '1.0 kB', '48 kB', '1.0 MB', '1.2 MB', '4.3 GB']);
	assert.equal(size(null), 'uploading…');
});

test('a name looks the same everywhere', () => {
	assert.equal(hue('Ann'), hue('ann'));
	for (let i = 0; i < 1000; i++) assert.ok(hue(`user${i}`) >= 0 && hue(`user${i}`) < 360);
	assert.deepEqual(['ann', 'mika.k', 'x_9'].map(initials), ['A', 'MK', 'X']);
});

test('commands, and text that begins with a slash', () => {
	assert.deepEqual(understand('hello'), { text: 'hello' });
	assert.deepEqual(understand('//join'), { text: '/join' });
	assert.deepEqual(understand('/etc/hosts is empty'), { text: '/etc/hosts is empty' });
	assert.deepEqual(understand('/join #ops'), { name: 'join', rest: '#ops' });
	assert.deepEqual(understand('/PART'), { name: 'leave', rest: '' });
	assert.deepEqual(understand('/dance'), { unknown: 'dance' });
});

const names = { nicks: ['bob', 'bernd', 'Zoë'], rooms: ['#ops', '#old'] };
const inserts = (text, caret = text.length, asked = false) =>
	complete(text, caret, { ...names, asked })?.options.map(({ insert }) => insert) ?? null;

test('completion', () => {
	assert.deepEqual(inserts('/jo'), ['/join ']);
	assert.deepEqual(inserts('/join o'), ['#ops ', '#old ']);
	assert.deepEqual(inserts('see #op'), ['#ops ']);
	assert.deepEqual(inserts('hi @b'), ['@bob ', '@bernd ']);
	assert.deepEqual(inserts('/msg z'), ['Zoë ']);
	assert.equal(inserts('b'), null);
	assert.deepEqual(inserts('b', 1, true), ['bob: ', 'bernd: ']);
	assert.deepEqual(inserts('ask b', 5, true), ['bob ', 'bernd ']);
	assert.deepEqual(inserts('hi @be there', 6), ['@bernd ']);
	assert.equal(inserts('plain words'), null);
});

/** What `fences` finds in `nick text` lines half a second apart; those after a blank line come much later. */
function blocks(lines, isStart) {
	let time = 0;
	const items = [];
	for (const line of lines) {
		time += line ? 500 : 600_000;
		const [nick, text] = line.split(/ (.*)/s);
		if (line) items.push({ verb: text === 'joined' ? 'PRESENCE' : 'MSG', nick, text, time });
	}
	const found = fences(items, isStart);
	return items.map((item) => found.get(item) ?? '-').join(' ');
}

test('a code block is the lines of one user between two fences, whatever else happens', () => {
	assert.equal(blocks(['lou ```', 'lou a', 'jack lunch?', 'bob joined', '', 'lou b', 'lou ```', 'lou prose']), 'fence code - - code fence -');
	assert.equal(blocks(['lou ```js', 'jack ```', 'lou a', 'jack b', 'jack ```', 'lou ```']), 'fence fence code code fence fence');
	assert.equal(blocks(['lou a', 'lou ```', 'lou b']), '- - -');
	assert.equal(blocks(['lou ```not a fence```', 'lou a', 'lou ```not a fence```']), '- - -');
});

test('a code block whose first lines are not loaded does not turn what follows into code', () => {
	const lines = ['lou a', 'jack lunch?', 'lou b', 'lou ```', 'jack hm', '', 'lou prose', '', 'lou ```', 'lou c', 'lou ```'];
	assert.equal(blocks(lines, false), 'code - code fence - - fence code fence');
	assert.equal(blocks(['lou prose', '', 'lou ```', 'lou c', 'lou ```'], false), '- fence code fence');
	assert.equal(blocks(['lou prose', '', 'lou ```', 'lou c', 'lou ```'], true), '- fence code fence');
});

test('the lines of a text are one item, also without its first lines or without ids', () => {
	const line = (id, text, more) => ({ verb: 'MSG', nick: 'ann', id, text, key: `m${id}`, ...more });
	const short = (items, isRemoved) => joined(items, isRemoved).map(({ id, key, text, isWhole }) => [id, key, text, isWhole]);
	const text = [line(5, 'a', { count: 3 }), line(6, '', { of: 5 }), line(7, 'c', { of: 5 })];
	const after = line(8, 'd');
	assert.deepEqual(short([line(4, 'x'), ...text, after]), [[4, 'm4', 'x', undefined], [5, 'm5', 'a\n\nc', true], [8, 'm8', 'd', undefined]]);
	assert.deepEqual(short([...text.slice(1), after]), [[5, 'm5', '\nc', false], [8, 'm8', 'd', undefined]]);
	assert.deepEqual(short(text, ({ id }) => id === 6), [[5, 'm5', 'a\nc', true]]);
	const told = [line(null, 'a', { count: 2 }), line(null, 'b'), line(null, 'c'), line(null, 'd', { count: 2 }), line(null, 'e', { nick: 'bob' })];
	assert.deepEqual(short(told).map(([, , text]) => text), ['a\nb', 'c', 'd', 'e']);
});

test('of a long text the first lines and the last one are shown, where the error of a traceback stands', () => {
	const shown = (text, lines = 2) => {
		const { begin, count, end } = ends(sections(text), lines);
		const all = (blocks) => blocks.map(({ isCode, text }) => `${isCode ? 'code' : 'text'} ${text}`);
		return [all(begin), count, all(end)];
	};
	assert.deepEqual(shown('Traceback\none\ntwo\nthree\nValueError\n\n'), [['text Traceback\none'], 2, ['text ValueError']]);
	assert.deepEqual(shown('look:\n```\none\ntwo\nthree\n```\n'), [['text look:', 'code one'], 1, ['code three']]);
	assert.deepEqual(shown('one\ntwo\nthree'), [['text one\ntwo'], 0, ['text three']]);
	assert.deepEqual(shown('one\ntwo'), [['text one'], 0, ['text two']]);
	assert.deepEqual(shown('one'), [['text one'], 0, []]);
	assert.deepEqual(shown('\n\n\n'), [['text \n\n\n'], 0, []]);
	assert.equal(ends(sections('```\none\ntwo\nthree\n```'), 1).begin[0].whole, 'one\ntwo\nthree'); // which its button copies
});

test('a text is split at its code fences', () => {
	const short = (text, isWhole) => sections(text, isWhole).map(({ isCode, text }) => `${isCode ? 'code' : 'text'} ${text}`);
	assert.deepEqual(short('see\n```js\na\n\nb\n```\nyes'), ['text see', 'code a\n\nb', 'text yes']);
	assert.deepEqual(short('```\na\n```\n```\nb\n```'), ['code a', 'code b']);
	assert.deepEqual(short('```\nno end'), ['text ```\nno end']);
	assert.deepEqual(short('b\n```\nyes', false), ['code b', 'text yes']);
	assert.deepEqual(short('```\n```'), ['text ```\n```']);
	assert.deepEqual(short('a\n```x```\nb'), ['text a\n```x```\nb']);
	assert.equal(sections('```js\n'.repeat(100_000)).length, 1);
});

test('a text of several lines that is laid out with spaces is recognized', () => {
	for (const text of ['def f():\n  return 1', 'a.c:\n\treturn', 'sda1 98%\nsdb1   12%', 'name:  ann\nid:    7', '  ^\nerror', 'a.   1\nb.   2']) {
		assert.equal(isAligned(text), true, text);
	}
	for (const text of ['sda1   98%', 'one\ntwo', 'It works.  Good.\nBye!  See you', ' one\n two', 'one  \n\ntwo', '']) {
		assert.equal(isAligned(text), false, text);
	}
	assert.equal(isAligned(`\n${' '.repeat(100_000)}\n`.repeat(10)), false);
});

test('everybody in a room can be mentioned, and that is offered after @', () => {
	const known = { nicks: ['rob'], rooms: [], hasEverybody: true };
	const labels = (text, more = {}) => complete(text, text.length, { ...known, ...more })?.options.map(({ label }) => label) ?? [];
	assert.deepEqual(labels('hi @ro'), ['rob', '@room']);
	assert.deepEqual(labels('hi @ro', { hasEverybody: false }), ['rob']);
	assert.deepEqual(labels('ro', { asked: true }), ['rob']);
	assert.deepEqual(labels('/msg @ro'), ['rob']);
});
