// Takes the pictures of the README anew: one conversation, as chatc, nc, curl, telnet, the page and WeeChat show it.
//
//   cargo build && CHATD=target/debug/chatd unshare --map-root-user --net sh -c 'ip link set lo up; node tests/browser/pictures.js'
//
// In a network of its own, so that the port is the one in the README. Needs Debian's fonts-inter, fonts-jetbrains-mono,
// fonts-noto-color-emoji, tmux and weechat.
// Look at examples/*.png afterwards.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { chatd, enter, message, say, tool, until, visitor } from './support.js';
import { HEAD, Terminals, pane } from './support/terminals.js';

const examples = fileURLToPath(new URL('../../examples/', import.meta.url));
const programs = path.dirname(path.resolve(process.env.CHATD));
const TRACE = [
	'Traceback (most recent call last):',
	'  File "backup.py", line 12, in main',
	'    shutil.copytree(source, target)',
	'OSError: [Errno 28] No space left on device',
].join('\n');

/** A user on a plain socket: sends a line, and returns the words of its reply. */
async function user(nick, room) {
	const socket = net.connect(5002, '127.0.0.1').setEncoding('utf8');
	let received = '';
	socket.on('data', (text) => (received += text));
	const ask = async (line) => {
		received = '';
		socket.write(`${line}\n`);
		await until(() => /^(OK|ERR) .*\n/m.test(received), true);
		return /^(?:OK|ERR) (.*)\n/m.exec(received)[1].split(' ');
	};
	await ask(`JOIN ${room}`);
	await ask(`NICK ${nick}`);
	return { ask, socket };
}

/** The fonts of a desktop of today. */
const FONTS = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd"><fontconfig>
<include>/etc/fonts/fonts.conf</include>
${[['system-ui', 'Inter'], ['sans-serif', 'Inter'], ['monospace', 'JetBrains Mono']].map(([family, font]) => `<match><test name="family"><string>${family}</string></test><edit name="family" mode="prepend" binding="strong"><string>${font}</string></edit></match>`).join('\n')}
</fontconfig>`;

/** What WeeChat runs when it starts. */
const WEECHAT = [
	'/set irc.look.server_buffer independent',
	'/set weechat.bar.buflist.size 10',
	'/set weechat.bar.nicklist.size_max 8',
	'/set weechat.look.buffer_time_format "%H:%M"',
	'/set weechat.look.prefix_align_max 7',
	'/set weechat.bar.title.color_bg 236',
	'/set weechat.bar.status.color_bg 236',
	'/set irc.server_default.nicks gwen',
	'/server add chat localhost/5002 -notls -autojoin=#ops',
	'/connect chat',
];

test('the pictures of the README', async (t) => {
	const folder = mkdtempSync(`${tmpdir()}/pictures-`);
	t.after(() => rmSync(folder, { recursive: true }));
	await chatd(t, ['--data', `${folder}/data`, '--name', 'chat.example.org', '--announce-after', '1h'], 5002);
	const terminals = new Terminals(t, folder);
	const dave = await user('dave', '#ops');
	await dave.ask('TOPIC #ops builds, backups, and what they cost');
	terminals.open('nc', 76, 24, 'nc localhost 5002');
	await terminals.types('nc', 'NICK bob', 'OK NICK');
	await terminals.types('nc', 'JOIN ops', 'OK JOIN');
	await terminals.types('nc', 'CHAT', 'OK CHAT');
	terminals.open('curl', 84, 13, "curl -sN 'http://localhost:5002/rooms/ops?follow&tags=on'");
	await terminals.talker('telnet', 76, 13, 'localhost 5002', 'fred');
	writeFileSync(`${folder}/fonts.conf`, FONTS);
	process.env.FONTCONFIG_FILE = `${folder}/fonts.conf`; // for the browser, which is started now
	const page = await visitor(t, { viewport: { width: 1120, height: 980 }, colorScheme: 'light', deviceScaleFactor: 2 });
	await enter(page, { url: 'http://localhost:5002/' }, 'carol', '#ops');
	const erin = await user('erin', '#ops');
	// The last to join, since joins are not announced here.
	terminals.open('chatc', 84, 24, `${programs}/chatc localhost --nick ann --room ops`);
	await terminals.shows('chatc', 'ann ›');
	await dave.ask('MSG good morning, everybody');
	await terminals.types('nc', 'good morning! who can look at the disk of builder-3?');
	await message(page, 'who can look').waitFor();
	await terminals.types('chatc', 'it grows by 2 GB a nigth');
	await message(page, 'it grows').waitFor();
	await terminals.types('chatc', '/edit it grows by 2 GB a night, always at 03:10');
	await message(page, 'always at 03:10').waitFor();
	await terminals.types('telnet', 'that is when the backup runs');
	await message(page, 'when the backup runs').waitFor();
	execFileSync('curl', ['-sSf', '-u', 'ci:', '--data-binary', '@-', 'http://localhost:5002/rooms/ops'], { input: TRACE });
	await message(page, 'No space left').waitFor();
	writeFileSync(`${folder}/df.txt`, 'Filesystem Use%\n/dev/sda1 100%\n');
	execFileSync('curl', ['-sSf', '-u', 'ci:', '-T', `${folder}/df.txt`, 'http://localhost:5002/rooms/ops/files/']);
	await page.getByText('df.txt').first().waitFor();
	const row = page.locator('.row', { has: page.locator('.text', { hasText: 'when the backup runs' }) });
	await tool(row, 'Reply');
	await say(page, 'my backup job, then. I move it to another disk');
	await message(page, 'another disk').waitFor();
	const id = await lastId(dave, 'another disk');
	for (const [who, emoji] of [[dave, '👍'], [erin, '👍'], [dave, '🎉']]) await who.ask(`REACT ${id} ${emoji}`);
	await page.locator('.row').getByText('🎉').waitFor();
	await erin.ask('MSG thank you all! tea?');
	for (const name of ['nc', 'chatc', 'curl', 'telnet']) await terminals.shows(name, 'thank you all! tea?');
	await message(page, 'tea?').waitFor();
	await page.mouse.move(560, 20);
	await page.screenshot({ path: `${examples}page.png` });

	const sheet = await visitor(t, { viewport: { width: 1500, height: 900 }, deviceScaleFactor: 2 });
	await sheet.setContent(`${HEAD}${pane(terminals, 'chatc', 'chatc localhost --room ops')}${pane(terminals, 'nc', 'nc localhost 5002')}${pane(terminals, 'curl', "curl -N 'http://localhost:5002/rooms/ops?follow&tags=on'")}${pane(terminals, 'telnet', 'telnet localhost 5002')}`);
	await sheet.locator('body').screenshot({ path: `${examples}one-port.png` });

	terminals.tmux('resize-window', '-t', 'chatc', '-x', '104', '-y', '24');
	terminals.tmux('send-keys', '-t', 'chatc', '-l', 'with biscuits, pleas');
	await terminals.shows('chatc', 'with biscuits, pleas');
	await sheet.setContent(`${HEAD}${pane(terminals, 'chatc', 'chatc localhost --room ops')}`);
	await sheet.locator('section').screenshot({ path: `${examples}chatc.png` });

	await erin.ask('PART');
	terminals.open('weechat', 86, 28, `NCURSES_NO_UTF8_ACS=1 weechat --dir ${folder}/weechat --run-command '${WEECHAT.join(';')}'`);
	await terminals.shows('weechat', 'Channel #ops');
	await terminals.types('weechat', '/quote HISTORY #ops 15', 'thank you all! tea?');
	await terminals.types('weechat', 'and I have cake 🍰', 'and I have cake');
	await message(page, 'I have cake').waitFor();
	await terminals.types('nc', 'in the kitchen, five minutes?');
	await terminals.shows('weechat', 'five minutes?');
	await say(page, 'see you there');
	await terminals.shows('weechat', 'see you there');
	terminals.tmux('send-keys', '-t', 'weechat', '-l', 'my backup can wa');
	await terminals.shows('weechat', 'can wa');
	await page.setViewportSize({ width: 600, height: 492 });
	await page.mouse.move(300, 10);
	await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
	const seen = (await page.screenshot()).toString('base64');
	await sheet.setContent(`${HEAD}${pane(terminals, 'weechat', 'weechat')}<section><h1>http://localhost:5002/</h1><img src="data:image/png;base64,${seen}" width="600" style="display:block"></section>`);
	await sheet.locator('img').evaluate((img) => img.decode());
	await sheet.locator('body').screenshot({ path: `${examples}weechat.png` });
});

/** Returns the id of the newest message that contains `text`. */
async function lastId(who, text) {
	let id;
	const find = (lines) => (id = new RegExp(`^PAST (\\d+) \\S+ MSG .*${text}`, 'm').exec(lines)?.[1] ?? id);
	who.socket.on('data', find);
	await who.ask('HISTORY #ops 5');
	return id;
}
