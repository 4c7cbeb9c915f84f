// Makes the recording of the README anew: ann in chatc and bob in nc, side by side, as a GIF.
//
//   cargo build && CHATD=target/debug/chatd unshare --map-root-user --net sh -c 'ip link set lo up; node tests/browser/recording.js'
//
// Needs Debian's imagemagick, fonts-jetbrains-mono, fonts-noto-color-emoji and tmux. Look at examples/recording.gif afterwards.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { chatd, visitor } from './support.js';
import { HEAD, Terminals, pane } from './support/terminals.js';

const examples = fileURLToPath(new URL('../../examples/', import.meta.url));
const programs = path.dirname(path.resolve(process.env.CHATD));

const ROWS = 18;
const CHATC_COLUMNS = 78;
const NC_COLUMNS = 64;
// All frames have the same size, however much the terminals show.
const SIZES = `<style>pre{height:${17 * ROWS}px;width:${NC_COLUMNS}ch}section:first-of-type pre{width:${CHATC_COLUMNS}ch}</style>`;

// Times in hundredths of a second.
const KEY = 7;
const MOMENT = 70;
const LOOK = 180;

test('the recording of the README', async (t) => {
	const folder = mkdtempSync(`${tmpdir()}/recording-`);
	t.after(() => rmSync(folder, { recursive: true }));
	await chatd(t, ['--data', `${folder}/data`], 5002);
	const terminals = new Terminals(t, folder);
	const sheet = await visitor(t, { viewport: { width: 1400, height: 480 } });
	const frames = [];

	/** Adds a frame that is shown for `time`. */
	const frame = async (time) => {
		const panes = `${pane(terminals, 'chatc', 'ann: chatc localhost')}${pane(terminals, 'nc', 'bob: nc localhost 5002')}`;
		await sheet.setContent(`${HEAD}${SIZES}${panes}`);
		const file = `${folder}/${String(frames.length).padStart(4, '0')}.png`;
		await sheet.locator('body').screenshot({ path: file });
		frames.push({ file, time });
	};
	const type = async (name, text) => {
		for (const part of text.match(/\S+\s*|\s+/gu)) {
			terminals.tmux('send-keys', '-t', name, '-l', part);
			await terminals.shows(name, part.trim());
			await frame(KEY * part.length);
		}
	};
	const key = (name, pressed) => terminals.tmux('send-keys', '-t', name, pressed);
	/** Types a line. Then both terminals show `shown`. */
	const line = async (name, text, shown, time = MOMENT) => {
		await type(name, text);
		key(name, 'Enter');
		for (const each of shown.on ?? ['chatc', 'nc']) await terminals.shows(each, shown.text ?? shown);
		await frame(time);
	};

	const sun = ['-fill', '#ffe9a8', '-draw', 'circle 150,118 150,84', '-fill', '#2a1a4a', '-draw', 'polygon 0,130 70,96 150,130 230,104 300,134 300,200 0,200'];
	execFileSync('convert', ['-size', '300x180', 'gradient:#40247a-#ff9a3c', ...sun, `${folder}/sunset.png`]);
	terminals.open('nc', NC_COLUMNS, ROWS, 'nc localhost 5002');
	terminals.open('chatc', CHATC_COLUMNS, ROWS, `sh -c 'cd ${folder}; COLORTERM=truecolor ${programs}/chatc localhost --nick ann'`);
	await terminals.shows('chatc', 'ann ›');
	await frame(MOMENT);
	await line('nc', 'NICK bob', { on: ['nc'], text: 'OK NICK bob' });
	await terminals.shows('chatc', 'bob joined');
	await line('nc', 'CHAT', { on: ['nc'], text: 'OK CHAT' });
	await line('nc', 'hello from netcat', 'hello from netcat', LOOK);
	await line('chatc', 'hi bob! have you seen the sunset?', 'have you seen', LOOK);
	await line('nc', 'no, I only have a terminal', 'only have a terminal', LOOK);
	await line('chatc', '/upload sunset.png', { on: ['chatc'], text: 'uploaded sunset.png' }, LOOK);
	key('chatc', 'C-r');
	await terminals.shows('chatc', 'v view');
	await frame(LOOK);
	key('chatc', 'v');
	await terminals.shows('chatc', 'any key closes');
	await frame(2 * LOOK);
	key('chatc', 'Escape');
	await terminals.shows('chatc', 'Enter reply');
	key('chatc', 'Up');
	await frame(MOMENT);
	key('chatc', 'Enter');
	await terminals.shows('chatc', 'reply');
	await frame(MOMENT);
	await line('chatc', 'so do I: chatc shows pictures', 'so do I', LOOK);
	await line('nc', '👏', '👏', LOOK);
	await line('chatc', '/react tada', { on: ['chatc'], text: '🎉' }, 2 * LOOK);

	const times = frames.flatMap(({ file, time }) => ['-delay', String(Math.round(time)), file]);
	execFileSync('convert', [...times, '-loop', '0', '-layers', 'optimize', '-colors', '128', `${examples}recording.gif`]);
});
