// Terminals in tmux, and what they show as HTML.

import { execFileSync } from 'node:child_process';
import { until } from '../support.js';

/** Terminals in tmux. */
export class Terminals {
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

	/** Opens telnet in talker mode, as a user in the room `ops`. `server` is the host and port. */
	async talker(name, columns, rows, server, nick) {
		this.open(name, columns, rows, `telnet ${server}`);
		await this.shows(name, 'Escape');
		await this.types(name, `NICK ${nick}`, 'OK NICK');
		await this.types(name, 'JOIN ops', 'OK JOIN');
		await this.types(name, 'CHAT', 'OK CHAT');
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

/** Returns the color number `n` of a terminal's 256 colors. */
function colour(n) {
	if (n < 16) return SIXTEEN[n];
	if (n >= 232) return `rgb(${Array(3).fill(8 + 10 * (n - 232))})`;
	const level = (of) => (of ? 55 + 40 * of : 0);
	return `rgb(${[Math.floor((n - 16) / 36), Math.floor((n - 16) / 6) % 6, (n - 16) % 6].map(level)})`;
}

/** Returns half blocks of two colors. A font's half blocks would leave gaps between the lines. */
function half(blocks, front, back) {
	const [upper, lower] = blocks[0] === '▀' ? [front, back] : [back, front];
	return `<i style="display:inline-block;vertical-align:top;height:17px;width:${blocks.length}ch;background:linear-gradient(${upper} 50%,${lower} 50%)"></i>`;
}

/** Returns the contents of a terminal as HTML. Characters of two columns keep their width. */
function inHtml(screen) {
	let style = {};
	const words = screen.replace(/\n+$/, '\n').split(/(\x1b\[[\d;]*m)/);
	return words.map((word) => {
		const codes = /^\x1b\[([\d;]*)m$/.exec(word)?.[1].split(';').map(Number);
		if (!codes) {
			const [front, back] = style.reversed ? [style.back ?? '#17181c', style.front ?? '#e4e6ea'] : [style.front, style.back];
			const css = `${front ? `color:${front};` : ''}${back ? `background:${back};` : ''}${style.bold ? 'font-weight:bold;' : ''}${style.dim ? 'opacity:.6;' : ''}${style.italic ? 'font-style:italic;' : ''}${style.underlined ? 'text-decoration:underline;' : ''}`;
			const text = word.replace(/[&<]/g, (c) => ({ '&': '&amp;', '<': '&lt;' })[c])
				.replace(/[▀▄]+/gu, (blocks) => half(blocks, front ?? '#e4e6ea', back ?? 'transparent'))
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

/** The beginning of a document with sections, each with a title and a terminal. */
export const HEAD = `<!DOCTYPE html><meta charset="utf-8"><style>
body{margin:0;padding:14px;background:#e9e6df;display:inline-grid;grid-template-columns:auto auto;gap:14px}
section{background:#17181c;border-radius:8px;overflow:hidden;box-shadow:0 2px 6px #0004}
h1{margin:0;padding:7px 12px;font:12px "JetBrains Mono","DejaVu Sans Mono";color:#c9ccd1;background:#2b2c31}
pre{margin:0;padding:8px 12px;font:13px/17px "JetBrains Mono","DejaVu Sans Mono","Noto Color Emoji",monospace;font-variant-ligatures:none;color:#e4e6ea}
.wide{display:inline-block;width:2ch;font-weight:normal;vertical-align:top}.wide i{font-style:normal;font-size:11px}</style>`;

/** Returns a section with the contents of a terminal. */
export function pane(terminals, name, title) {
	return `<section><h1>${title}</h1><pre>${terminals.html(name)}</pre></section>`;
}
