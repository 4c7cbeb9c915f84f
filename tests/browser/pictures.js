// Takes the pictures of the README anew: one conversation, as chatc, nc, curl, telnet, the page and WeeChat show it.
//
//   cargo build && CHATD=target/debug/chatd unshare --map-root-user --net sh -c 'ip link set lo up; node tests/browser/pictures.js'
//
// In a network of its own, so that the port is the one in the README. Needs Debian's fonts-noto-color-emoji, tmux and
// weechat.
// Look at examples/*.png afterwards.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { chatd, enter, message, say, tool, until, visitor } from './support.js';

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

/** Terminals in tmux. */
class Terminals {
	constructor(t, home) {
		this.home = home;
		this.socket = `pictures-${process.pid}`;
		t.after(() => this.tmux('kill-server'));
	}

	tmux(...args) {
		return execFileSync('tmux', ['-L', this.socket, '-f', '/dev/null', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
	}

	open(name, columns, rows, command) {
		const set = ['COLORFGBG=15;0', 'TERM=xterm-256color', 'LC_ALL=C.UTF-8', `HOME=${this.home}`];
		this.tmux('-u', 'new-session', '-d', '-s', name, '-x', columns, '-y', rows, `env ${set.map((s) => `'${s}'`).join(' ')} ${command}`, ';', 'set', '-g', 'status', 'off');
	}

	async types(name, line, shown) {
		this.tmux('send-keys', '-t', name, '-l', line);
		this.tmux('send-keys', '-t', name, 'Enter');
		if (shown) await this.shows(name, shown);
	}

	/** Waits until the terminal shows `text`. */
	shows(name, text) {
		return until(() => this.tmux('capture-pane', '-p', '-t', name).includes(text), true);
	}

	html(name) {
		return inHtml(this.tmux('capture-pane', '-p', '-e', '-t', name));
	}
}

const SIXTEEN = ['#2e3436', '#ef5350', '#8ad98a', '#e5d885', '#64a7e6', '#ff79c6', '#5fd7d7', '#d5d7da', '#767a80', '#ff7b72', '#a5e8a5', '#fff0a0', '#8fc4ff', '#ff9ad5', '#8fefef', '#ffffff'];

/** Returns the colour of that number of 256. */
function colour(n) {
	if (n < 16) return SIXTEEN[n];
	if (n >= 232) return `rgb(${Array(3).fill(8 + 10 * (n - 232))})`;
	const level = (of) => (of ? 55 + 40 * of : 0);
	return `rgb(${[Math.floor((n - 16) / 36), Math.floor((n - 16) / 6) % 6, (n - 16) % 6].map(level)})`;
}

/** Returns the contents of a terminal as HTML; what is two columns wide keeps its width. */
function inHtml(screen) {
	let style = {};
	const words = screen.replace(/\n+$/, '\n').split(/(\x1b\[[\d;]*m)/);
	return words.map((word) => {
		const codes = /^\x1b\[([\d;]*)m$/.exec(word)?.[1].split(';').map(Number);
		if (!codes) {
			const [front, back] = style.reversed ? [style.back ?? '#17181c', style.front ?? '#e4e6ea'] : [style.front, style.back];
			const css = `${front ? `color:${front};` : ''}${back ? `background:${back};` : ''}${style.bold ? 'font-weight:bold;' : ''}${style.dim ? 'opacity:.6;' : ''}${style.italic ? 'font-style:italic;' : ''}${style.underlined ? 'text-decoration:underline;' : ''}`;
			const text = word.replace(/[&<]/g, (c) => ({ '&': '&amp;', '<': '&lt;' })[c])
				.replace(/\p{Emoji_Presentation}/gu, '<b class="wide"><i>$&</i></b>');
			return word && `<span style="${css}">${text}</span>`;
		}
		for (let i = 0; i < codes.length; i++) {
			const code = codes[i];
			const at = (Math.floor(code / 10) % 10 === 3 || code >= 90 && code < 98) ? 'front' : 'back';
			if (code === 0) style = {};
			else if (code === 1) style.bold = true;
			else if (code === 2) style.dim = true;
			else if (code === 3) style.italic = true;
			else if (code === 4) style.underlined = true;
			else if (code === 7) style.reversed = true;
			else if (code === 22) style.bold = style.dim = false;
			else if (code >= 23 && code <= 27) style[{ 23: 'italic', 24: 'underlined', 27: 'reversed' }[code]] = false;
			else if ((code === 38 || code === 48) && codes[i + 1] === 5) {
				style[code === 38 ? 'front' : 'back'] = colour(codes[i + 2]);
				i += 2;
			} else if ((code === 38 || code === 48) && codes[i + 1] === 2) {
				style[code === 38 ? 'front' : 'back'] = `rgb(${codes.slice(i + 2, i + 5)})`;
				i += 4;
			} else if (code === 39 || code === 49) style[code === 39 ? 'front' : 'back'] = undefined;
			else if (code >= 90) style[at] = SIXTEEN[code % 10 + 8];
			else if (code >= 30) style[at] = SIXTEEN[code % 10];
		}
		return '';
	}).join('');
}

const HEAD = `<!DOCTYPE html><meta charset="utf-8"><style>
body{margin:0;padding:14px;background:#e9e6df;display:inline-grid;grid-template-columns:auto auto;gap:14px}
section{background:#17181c;border-radius:8px;overflow:hidden;box-shadow:0 2px 6px #0004}
h1{margin:0;padding:7px 12px;font:12px "DejaVu Sans Mono";color:#c9ccd1;background:#2b2c31}
pre{margin:0;padding:8px 12px;font:13px/17px "DejaVu Sans Mono","Noto Color Emoji",monospace;color:#e4e6ea}
.wide{display:inline-block;width:2ch;font-weight:normal;vertical-align:top}.wide i{font-style:normal;font-size:11px}</style>`;

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
	terminals.open('curl', 84, 13, "curl -sN 'http://localhost:5002/rooms/ops?follow'");
	terminals.open('telnet', 76, 13, 'telnet localhost 5002');
	await terminals.shows('telnet', 'Escape');
	await terminals.types('telnet', 'NICK fred', 'OK NICK');
	await terminals.types('telnet', 'JOIN ops', 'OK JOIN');
	await terminals.types('telnet', 'CHAT', 'OK CHAT');
	const page = await visitor(t, { viewport: { width: 1120, height: 980 }, colorScheme: 'light' });
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

	const sheet = await visitor(t, { viewport: { width: 1500, height: 900 } });
	const pane = (name, title) => `<section><h1>${title}</h1><pre>${terminals.html(name)}</pre></section>`;
	await sheet.setContent(`${HEAD}${pane('chatc', 'chatc localhost --room ops')}${pane('nc', 'nc localhost 5002')}${pane('curl', "curl -N 'http://localhost:5002/rooms/ops?follow'")}${pane('telnet', 'telnet localhost 5002')}`);
	await sheet.locator('body').screenshot({ path: `${examples}one-port.png` });

	terminals.tmux('resize-window', '-t', 'chatc', '-x', '104', '-y', '24');
	terminals.tmux('send-keys', '-t', 'chatc', '-l', 'with biscuits, pleas');
	await terminals.shows('chatc', 'with biscuits, pleas');
	await sheet.setContent(`${HEAD}${pane('chatc', 'chatc localhost --room ops')}`);
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
	await sheet.setContent(`${HEAD}${pane('weechat', 'weechat')}<section><h1>http://localhost:5002/</h1><img src="data:image/png;base64,${seen}" style="display:block"></section>`);
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
