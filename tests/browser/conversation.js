// Takes pictures of one conversation on every kind of screen, to be looked at: two browsers (one of them a phone with dark
// colors), chatc, nc, telnet in talker mode, `curl -N`, and the client of protocol.md 1.1, which knows nothing of tags.
// Replies, edits, reactions, two tracebacks, files, a topic, direct messages, and users who leave and return.
//
//   cargo build && CHATD=target/debug/chatd node tests/browser/conversation.js FOLDER
//
// Needs Debian's fonts-noto-color-emoji, netcat-openbsd, telnet and tmux. Look at FOLDER/*.png afterwards.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { attach, chatd, choose, enter, input, message, register, say, sent, tool, transfer, until, visitor } from './support.js';
import { HEAD, Terminals, pane } from './support/terminals.js';

const pictures = path.resolve(process.argv[2]);
const programs = path.dirname(path.resolve(process.env.CHATD));
const DOCUMENT = readFileSync(new URL('../../protocol.md', import.meta.url), 'utf8');
const OLD_CLIENT = /```python\n(import os, re, socket[^]*?)```/.exec(DOCUMENT)[1];

/** A traceback of 30 lines. */
function traceback(error) {
	const frames = Array.from({ length: 14 }, (_, i) => `  File "/srv/backup/step_${i}.py", line ${12 + 7 * i}, in step_${i}\n    return step_${i + 1}(source, target, retries=${i})`);
	return ['Traceback (most recent call last):', ...frames, error].join('\n');
}

const row = (page, text) => page.locator('.row', { has: page.locator('.text', { hasText: text }) });

test('a conversation on all screens', async (t) => {
	mkdirSync(pictures, { recursive: true });
	const folder = mkdtempSync(`${tmpdir()}/conversation-`);
	t.after(() => rmSync(folder, { recursive: true }));
	writeFileSync(`${folder}/client.py`, OLD_CLIENT);
	const server = await chatd(t, ['--data', `${folder}/data`, '--name', 'chat.example.org']);
	const { port } = server;
	const terminals = new Terminals(t, folder);
	const shows = async (names, text) => {
		for (const name of names) {
			await terminals.shows(name, text).catch(() => {
				throw new Error(`${name} does not show ${text}, but:\n${terminals.tmux('capture-pane', '-p', '-t', name).trim()}`);
			});
		}
	};
	const WATCHERS = ['nora', 'dora', 'curl', 'carl'];

	// Everybody arrives.
	const ann = await visitor(t, { viewport: { width: 1200, height: 900 }, colorScheme: 'light' });
	await register(ann, server, 'ann');
	await say(ann, '/join ops');
	await ann.getByRole('heading', { name: '#ops', exact: true }).waitFor();
	terminals.open('curl', 100, 110, `curl -sN 'http://127.0.0.1:${port}/rooms/ops?follow&tags=on'`);
	await say(ann, '/topic backups, and what they cost');
	await ann.locator('#topic', { hasText: 'what they cost' }).waitFor();
	const bob = await visitor(t, { viewport: { width: 390, height: 844 }, colorScheme: 'dark', hasTouch: true, isMobile: true });
	await enter(bob, server, 'bob', '#ops');
	terminals.open('carl', 100, 44, `${programs}/chatc 127.0.0.1:${port} --nick carl --room ops`);
	await terminals.shows('carl', 'carl ›');
	terminals.open('nora', 100, 130, `nc 127.0.0.1 ${port}`);
	await terminals.types('nora', 'NICK nora', 'OK NICK');
	await terminals.types('nora', 'JOIN ops', 'OK JOIN');
	await terminals.talker('dora', 100, 140, `127.0.0.1 ${port}`, 'dora');
	terminals.open('otto', 100, 130, `/usr/bin/python3 ${folder}/client.py 127.0.0.1 ${port} otto ops`);
	await shows(['dora'], 'otto joined');

	// Each says something.
	await say(ann, 'good morning! who can look at the disk of builder-3?');
	await shows([...WATCHERS, 'otto'], 'who can look');
	await terminals.types('nora', 'MSG good morning. df says 98%', 'OK MSG');
	await message(ann, 'df says 98%').waitFor();
	await terminals.types('carl', 'it grows by 2 GB a nigth');
	await message(bob, 'it grows').waitFor();
	await terminals.types('dora', 'that is when the backup runs');
	await message(bob, 'that is when').waitFor();
	await terminals.types('otto', 'my client is twenty years old');
	await message(bob, 'twenty years').waitFor();
	execFileSync('curl', ['-sSf', '-u', 'ci:', '-d', 'build 512 of main failed', `http://127.0.0.1:${port}/rooms/ops`]);
	await message(bob, 'build 512').waitFor();

	// Replies: from the page, the phone and chatc.
	await tool(row(ann, 'that is when'), 'Reply');
	await say(ann, 'my backup job, then. I move it to another disk');
	await message(bob, 'another disk').waitFor();
	await shows([...WATCHERS, 'otto'], 'another disk');
	terminals.tmux('send-keys', '-t', 'carl', 'C-r');
	await terminals.shows('carl', 'Enter reply');
	terminals.tmux('send-keys', '-t', 'carl', 'Enter');
	await terminals.types('carl', 'thanks, ann: which disk?');
	await message(ann, 'which disk?').waitFor();
	// Its quote would lead to the quoted message.
	await message(bob, 'which disk?').tap();
	await row(bob, 'which disk?').getByRole('button', { name: 'Reply', exact: true }).tap();
	await say(bob, 'sdb has space');
	await message(ann, 'sdb has space').waitFor();
	await shows([...WATCHERS, 'otto'], 'sdb has space');

	// Edits: from chatc and from the page.
	await terminals.types('carl', '/edit thanks, ann: which disk? sdb or sdc?');
	await message(ann, 'sdb or sdc?').waitFor();
	await shows([...WATCHERS, 'otto'], 'sdb or sdc?');
	await input(ann).press('ArrowUp');
	await say(ann, 'my backup job, then. I move it to sdb');
	await message(bob, 'I move it to sdb').waitFor();
	await shows([...WATCHERS, 'otto'], 'I move it to sdb');

	// Reactions: from the phone, chatc, nc and telnet; one is withdrawn.
	const id = await row(ann, 'sdb has space').getAttribute('data-id');
	await tool(row(ann, 'sdb has space'), 'React');
	await ann.getByRole('dialog', { name: 'React with' }).locator('.emoji').first().click();
	await row(bob, 'sdb has space').locator('.chip').first().waitFor();
	await terminals.types('carl', '/react tada');
	await row(ann, 'sdb has space').getByText('🎉').waitFor();
	await terminals.types('nora', `REACT ${id} 🎉`, 'OK REACT');
	await terminals.types('dora', `/react ${id} 👀`, 'reaction was added');
	await terminals.types('dora', `/unreact ${id} 👀`, 'reaction was withdrawn');
	await shows([...WATCHERS, 'otto'], '🎉');

	// Tracebacks: pasted into the page, then into chatc, and a short text from nc.
	await transfer(input(ann), 'paste', { text: traceback('OSError: pasted into the page') });
	await ann.screenshot({ path: `${pictures}/ann-paste.png` });
	await choose(ann, 'One message');
	await input(ann).press('Enter');
	await message(bob, 'pasted into the page').waitFor();
	await shows([...WATCHERS, 'otto'], 'pasted into the page');
	writeFileSync(`${folder}/trace`, traceback('OSError: pasted into chatc'));
	terminals.tmux('load-buffer', `${folder}/trace`);
	terminals.tmux('paste-buffer', '-p', '-t', 'carl');
	await terminals.shows('carl', 'you pasted 30 lines');
	await picture(t, terminals, ['carl'], 'carl-paste');
	terminals.tmux('send-keys', '-t', 'carl', 'Enter');
	await message(bob, 'pasted into chatc').waitFor();
	await shows(['nora', 'dora', 'curl', 'otto'], 'pasted into chatc');
	await terminals.types('nora', 'TEXT 31');
	await terminals.types('nora', '/dev/sda1 98%');
	await terminals.types('nora', '/dev/sdb1     12%', 'OK TEXT');
	await message(bob, 'sdb1').waitFor();
	for (const [page, name] of [[ann, 'ann-trace'], [bob, 'bob-trace']]) await page.screenshot({ path: `${pictures}/${name}.png` });
	await picture(t, terminals, ['carl'], 'carl-trace');

	// A file, a picture, a topic, an action, a deleted message.
	writeFileSync(`${folder}/df.txt`, 'Filesystem Use%\n/dev/sda1 98%\n');
	await attach(bob, `${folder}/df.txt`);
	await ann.getByText('df.txt').first().waitFor();
	await terminals.types('carl', `/upload ${new URL('../../src/web/icon-512.png', import.meta.url).pathname}`, 'uploaded');
	await ann.getByText('icon-512.png').first().waitFor();
	await terminals.types('dora', '/topic #ops sdb it is', 'topic of #ops');
	await terminals.types('otto', 'a message with a mistake');
	await terminals.types('nora', 'ME goes for coffee', 'OK ME');
	await say(bob, 'password: hunter2');
	await message(ann, 'hunter2').waitFor();
	await shows(['nora', 'dora', 'curl', 'otto'], 'hunter2');
	await sent(bob, 'hunter2');
	await say(bob, '/remove');
	await bob.getByRole('dialog').getByRole('button', { name: 'Delete' }).click({ timeout: 2000 }).catch(() => {});
	await until(() => message(ann, 'hunter2').count(), 0);

	// Direct messages between a browser and nc, and between the browsers.
	await say(ann, '/msg nora do you have the key of the server room?');
	await terminals.shows('nora', 'key of the server room');
	await terminals.types('nora', 'TELL ann yes, in my drawer', 'OK TELL');
	await message(ann, 'in my drawer').waitFor();
	await ann.screenshot({ path: `${pictures}/ann-direct.png` });
	await terminals.types('dora', '/tell ann me too', 'me too');
	await terminals.types('dora', '/tell carl lunch?');
	await terminals.shows('carl', 'dora');
	await ann.locator('#rooms').getByRole('link', { name: 'ops' }).click();

	// Users leave and return; one changes the name.
	await picture(t, terminals, ['otto'], 'otto');
	await picture(t, terminals, ['nora'], 'nora');
	terminals.tmux('send-keys', '-t', 'otto', 'C-d');
	await terminals.shows('dora', 'otto left');
	await terminals.types('dora', '/nick doris', 'doris');
	await terminals.types('nora', 'BYE', 'OK BYE');
	await shows(['dora', 'carl'], 'nora left');
	await say(ann, 'nora has the key, by the way');
	await message(bob, 'by the way').waitFor();
	terminals.open('again-nora', 100, 40, `nc 127.0.0.1 ${port}`);
	await terminals.types('again-nora', 'NICK nora', 'OK NICK');
	await terminals.types('again-nora', 'JOIN ops', 'OK JOIN');
	await terminals.types('again-nora', 'HISTORY 12', 'OK HISTORY');
	terminals.open('again-otto', 100, 40, `/usr/bin/python3 ${folder}/client.py 127.0.0.1 ${port} otto ops`);
	await shows(['dora', 'carl'], 'nora joined');
	await terminals.types('again-otto', 'hello again', '');
	await message(bob, 'hello again').waitFor();
	await bob.reload();
	await message(bob, 'hello again').waitFor();
	await terminals.types('carl', 'welcome back, both of you');
	await message(bob, 'welcome back').waitFor();
	await shows(['again-nora', 'again-otto', 'dora', 'curl'], 'welcome back');
	await terminals.talker('eve', 100, 60, `127.0.0.1 ${port}`, 'eve');
	await terminals.types('eve', '/history 14', 'welcome back');

	await ann.screenshot({ path: `${pictures}/ann-end.png` });
	await bob.screenshot({ path: `${pictures}/bob-end.png` });
	for (const [page, name] of [[ann, 'ann'], [bob, 'bob']]) {
		// All of the conversation.
		await page.setViewportSize({ width: name === 'ann' ? 1200 : 390, height: 3600 });
		await message(page, 'good morning!').waitFor();
		await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
		await page.screenshot({ path: `${pictures}/${name}-all.png` });
	}
	for (const name of ['carl', 'dora', 'curl']) await picture(t, terminals, [name], name);
	await picture(t, terminals, ['again-nora', 'eve', 'again-otto'], 'returned');
	for (const name of ['carl', 'dora', 'curl', 'again-nora', 'again-otto', 'eve']) {
		writeFileSync(`${pictures}/${name}.txt`, terminals.tmux('capture-pane', '-p', '-t', name));
	}
});

/** Takes a picture of terminals. */
async function picture(t, terminals, names, file) {
	const sheet = await visitor(t, { viewport: { width: 1500, height: 900 } });
	await sheet.setContent(HEAD + names.map((name) => pane(terminals, name, name)).join(''));
	await sheet.locator('body').screenshot({ path: `${pictures}/${file}.png` });
	await sheet.context().close();
}
