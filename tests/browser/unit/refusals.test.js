// What the page says when the server refuses something: its own sentences, not the protocol's.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { ended, keeping, refusal } from '../../../src/web/refusals.js';

const document = readFileSync(new URL('../../../protocol.md', import.meta.url), 'utf8');
const codes = [...document.split('\n## 9 Errors\n')[1].split('\n## ')[0].matchAll(/^\| `([a-z0-9-]+)` \|/gm)].map(([, code]) => code);
const verbs = [...document.matchAll(/^### 4\.\d+ ([A-Z]+(?: and [A-Z]+)*)$/gm)].flatMap(([, verbs]) => verbs.split(' and '));

/** Words of the protocol, which no sentence for a user of the page may contain. */
const PROTOCOL = /\b(NICK|JOIN|PART|PASS|LIST|WHO|HELP|HISTORY|FILES|REGISTER|MODE|INVITE|UNINVITE|KICK|BAN|SEARCH)\b|write it|<\w+>|undefined|\d{4}-\d\d-\d\dT/;

test('every refusal of every command is a sentence without protocol words', () => {
	assert.ok(codes.length > 20 && verbs.length > 30, `${codes.length} codes, ${verbs.length} verbs`);
	for (const verb of verbs) {
		for (const code of codes.filter((code) => code !== 'kicked' && code !== 'idle')) { // these two only end connections
			const said = refusal({ verb, code, text: 'write it JOIN <room> [<id> | AS <name>]' }, { room: '#tea', nick: 'bob' });
			assert.match(said, /^[A-Z#b].*(\.|\w)$/, `${verb} ${code}`);
			assert.doesNotMatch(said, PROTOCOL, `${verb} ${code}`);
		}
	}
});

test('the end of a connection is a sentence, with local times', () => {
	assert.equal(ended({ code: 'kicked', text: 'root has closed your connection: too loud' }), 'An operator has disconnected you: Too loud.');
	const banned = ended({ code: 'banned', text: 'you are banned until 2026-11-27T17:24:09.436Z: spam' });
	assert.match(banned, /^You are banned from this server until .*2026.*\. Reason: Spam\.$/);
	for (const code of codes) assert.doesNotMatch(ended({ code, text: '' }), PROTOCOL);
});

test('the welcome card says how long messages are saved', () => {
	assert.equal(keeping('Messages are saved for 7 days, the newest 5 MB; HISTORY shows them.'), 'Messages on this server are saved for 7 days.');
	assert.equal(keeping('Messages are saved; HISTORY shows them.'), 'Messages on this server are saved.');
	assert.equal(keeping('Messages are lost when the server stops.'), 'Messages are deleted when the server stops.');
});
