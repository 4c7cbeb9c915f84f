// The page parses and writes the lines of protocol.md.

import assert from 'node:assert/strict';
import test from 'node:test';
import { LINE_BYTES_MAX, block, byteLength, clean, parse, pieces, words } from '../../../src/web/wire.js';

const TIME = '2026-11-22T11:22:05.007Z';

function check(line, expected) {
	test(line || '(an empty line)', () => assert.deepEqual(parse(line), expected));
}

check('OK NICK ann #lobby 17', { kind: 'ok', ok: true, verb: 'NICK', text: 'ann #lobby 17' });
check('OK PING', { kind: 'ok', ok: true, verb: 'PING', text: '' });
check('ERR - too-long a line has 4096 bytes', { kind: 'err', ok: false, verb: '-', code: 'too-long', text: 'a line has 4096 bytes' });
check(`LIVE 7 ${TIME} MSG #lobby ann  two  spaces `, {
	kind: 'live', id: 7, time: Date.parse(TIME), verb: 'MSG', room: '#lobby', nick: 'ann', text: ' two  spaces ',
});
check(`LIVE - ${TIME} JOIN #lobby ann`, { kind: 'live', id: null, time: Date.parse(TIME), verb: 'JOIN', room: '#lobby', nick: 'ann' });
check(`LIVE - ${TIME} NICK #lobby ann anna`, {
	kind: 'live', id: null, time: Date.parse(TIME), verb: 'NICK', room: '#lobby', nick: 'ann', to: 'anna',
});
check(`PAST 8 ${TIME} FILE #ops ci 8 12 my notes.txt`, {
	kind: 'past', id: 8, time: Date.parse(TIME), verb: 'FILE', room: '#ops', nick: 'ci', file: 8, size: 12, name: 'my notes.txt',
});
check(`PAST 8 ${TIME} FILE #ops ci 8 * build.log`, {
	kind: 'past', id: 8, time: Date.parse(TIME), verb: 'FILE', room: '#ops', nick: 'ci', file: 8, size: null, name: 'build.log',
});
check(`LIVE 9 ${TIME} REMOVE #ops ci 8`, { kind: 'live', id: 9, time: Date.parse(TIME), verb: 'REMOVE', room: '#ops', nick: 'ci', target: 8 });
check(`LIVE 9 ${TIME} EDIT #ops ci 8 better  words`, {
	kind: 'live', id: 9, time: Date.parse(TIME), verb: 'EDIT', room: '#ops', nick: 'ci', target: 8, text: 'better  words',
});
check(`PAST 9 ${TIME} REACT #ops ci 8 👍`, {
	kind: 'past', id: 9, time: Date.parse(TIME), verb: 'REACT', room: '#ops', nick: 'ci', target: 8, emoji: '👍',
});
check(`PAST 9 ${TIME} @edited=${TIME};reply=7;x-run=1%202 MSG #ops ci @not a tag`, {
	kind: 'past', id: 9, time: Date.parse(TIME), verb: 'MSG', room: '#ops', nick: 'ci', text: '@not a tag', edited: Date.parse(TIME), reply: 7,
});
check(`PAST 9 ${TIME} @removed MSG #ops ci -`, { kind: 'past', id: 9, time: Date.parse(TIME), verb: 'MSG', room: '#ops', nick: 'ci', text: '-', isRemoved: true });
check(`LIVE 9 ${TIME} @x-%=%;; MSG #ops ci hi`, { kind: 'live', id: 9, time: Date.parse(TIME), verb: 'MSG', room: '#ops', nick: 'ci', text: 'hi' });
check(`LIVE 9 ${TIME} @reply=7`, null);
check(`LIVE - ${TIME} SEEN #ops ann 17 me`, { kind: 'live', id: null, time: Date.parse(TIME), verb: 'SEEN', room: '#ops', nick: 'ann', seen: 17, reader: 'me' });
check('READER #ops me 17', { kind: 'reader', room: '#ops', reader: 'me', seen: 17 });
check(`LIVE 9 ${TIME} TOPIC #ops ci`, { kind: 'live', id: 9, time: Date.parse(TIME), verb: 'TOPIC', room: '#ops', nick: 'ci', text: '' });
check('ROOM #ops 2', { kind: 'room', room: '#ops', members: 2, topic: '' });
check('USER #ops ann', { kind: 'user', room: '#ops', nick: 'ann', away: '' });
check('USER #ops ann back at four', { kind: 'user', room: '#ops', nick: 'ann', away: 'back at four' });
check('AWAY ann bob back at four', { kind: 'away', verb: 'AWAY', room: 'ann', nick: 'bob', text: 'back at four' });
check('AWAY ann', null);
check(`LIVE - ${TIME} AWAY #ops bob`, { kind: 'live', id: null, time: Date.parse(TIME), verb: 'AWAY', room: '#ops', nick: 'bob', text: '' });
check('HOOK ci #ops 2026-11-22T11:22:05.007Z', { kind: 'hook', label: 'ci', room: '#ops' });
check('GAP #ops', { kind: 'gap', room: '#ops' });
check('CLOSED shutting-down back in a minute', { kind: 'closed', code: 'shutting-down', text: 'back in a minute' });
check('NOTE * box the disk is full', { kind: 'note', nick: 'box', text: 'the disk is full' });
// A client skips what it does not know.
check('SURPRISE #ops', null);
check(`LIVE 9 ${TIME} DANCE #ops ann wildly`, null);
check('', null);

test('words takes fields off and leaves the rest as it is', () => {
	assert.deepEqual(words('a b  c ', 2), ['a', 'b', ' c ']);
	assert.deepEqual(words('a', 2), ['a', '', '']);
});

test('text is cleaned as the server cleans it', () => {
	// The case of protocol.md §3.3.
	assert.equal(clean('\x1b[31mred\x1b[0m \x1b]0;title\x07\tand\0 \x07blue'), 'red \tand blue');
	assert.equal(clean('a\x1bPq\x1b\\b\x1b_x\x07c\x1bMd'), 'abcd');
	assert.equal(clean('a\u202eb\u2066c\u2028d\u0085e\u200df'), 'abcde\u200df');
});

test('a last line of which nothing is left is no line', () => {
	assert.deepEqual(pieces('ok\n\x1b[0m', 'TELL #a '), ['ok']);
	assert.equal(block('ok\n\x1b[0m'), null);
	assert.deepEqual(block('ok\n\nb\n \x1b[0m\n'), ['ok', '', 'b']);
});

test('a long text is split into lines that fit', () => {
	assert.deepEqual(pieces('one\r\ntwo\n\nthree\n\n', 'TELL #a '), ['one', 'two', ' ', 'three']);
	const prefix = 'TELL #lobby ';
	for (const text of ['é'.repeat(5000), 'x'.repeat(5000), '👀'.repeat(2000), 'word '.repeat(2000)]) {
		const cut = pieces(text, prefix);
		assert.ok(cut.length > 1);
		for (const piece of cut) assert.ok(byteLength(prefix + piece) + 1 <= LINE_BYTES_MAX);
		assert.equal(cut.join(''), text.trimEnd());
	}
});
