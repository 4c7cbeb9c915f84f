// A message's text in parts that are shown differently: links, `code`, names. Pure; what it gives is text, never HTML.

const URL_START = /https?:\/\/[^\s<>"`]+/giu;
const CODE = /(?<!`)(`{1,3})([^`\n]+)\1(?!`)/gu;
const WORD = /[\p{L}\p{M}\p{N}_-]/u;

/** Whether `text` names `nick` as a word of its own, in any letters. */
export function mentions(text, nick) {
	if (!nick) return false;
	const hay = text.toLowerCase();
	const needle = nick.toLowerCase();
	for (let at = hay.indexOf(needle); at >= 0; at = hay.indexOf(needle, at + 1)) {
		const before = hay[at - 1] ?? ' ';
		const after = hay[at + needle.length] ?? ' ';
		if (!WORD.test(before) && !WORD.test(after)) return true;
	}
	return false;
}

/** The end of a link that belongs to the sentence around it: a full stop, a closing bracket that it did not open. */
function trimmed(url) {
	for (;;) {
		const last = url.at(-1);
		const pairs = { ')': '(', ']': '[', '}': '{' };
		const closes = pairs[last] && url.split(last).length > url.split(pairs[last]).length;
		if (!closes && !/[.,;:!?'’”»*_~]/u.test(last)) return url;
		url = url.slice(0, -1);
	}
}

function* linked(text) {
	let from = 0;
	for (const match of text.matchAll(URL_START)) {
		const url = trimmed(match[0]);
		if (!isAddress(url)) continue;
		if (match.index > from) yield { type: 'text', text: text.slice(from, match.index) };
		yield { type: 'link', text: url };
		from = match.index + url.length;
	}
	if (from < text.length) yield { type: 'text', text: text.slice(from) };
}

function isAddress(url) {
	try {
		return Boolean(new URL(url));
	} catch {
		return false;
	}
}

/** Names in plain text: `nicks` and `rooms` are questions to ask (`(name) => boolean`). */
function* named(text, me, isNick, isRoom) {
	let from = 0;
	for (const match of text.matchAll(/[@#]?[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*/gu)) {
		const before = text[match.index - 1] ?? ' ';
		if (WORD.test(before) || before === '/' || before === '@' || before === '#') continue;
		const word = match[0].replace(/[.-]+$/, '');
		const bare = word.replace(/^@/, '');
		let type;
		if (word[0] === '#') type = isRoom(word) && 'room';
		else if (me && bare.toLowerCase() === me.toLowerCase()) type = 'me';
		else if (word[0] === '@') type = isNick(bare) && 'nick';
		if (!type) continue;
		if (match.index > from) yield { type: 'text', text: text.slice(from, match.index) };
		yield { type, text: word };
		from = match.index + word.length;
	}
	if (from < text.length) yield { type: 'text', text: text.slice(from) };
}

/** `text` as a list of `{type, text}`: text, link, code, room, nick, me. Joined, the texts are what was said. */
export function parts(text, { me = '', isNick = () => false, isRoom = () => false } = {}) {
	const found = [];
	let from = 0;
	const plain = (piece) => {
		for (const part of linked(piece)) {
			if (part.type === 'text') found.push(...named(part.text, me, isNick, isRoom));
			else found.push(part);
		}
	};
	for (const match of text.matchAll(CODE)) {
		plain(text.slice(from, match.index));
		found.push({ type: 'code', text: match[0] });
		from = match.index + match[0].length;
	}
	plain(text.slice(from));
	return found;
}

/**
 * Which lines are code: those that one person has said between two lines that begin with ```, whatever others say
 * between them. Gives `fence` or `code` for each of these items. One without its other end is just text.
 */
export function fences(items) {
	const found = new Map();
	const open = new Map(); // nick → the lines since it opened
	for (const item of items) {
		if (item.verb !== 'MSG') continue;
		const lines = open.get(item.nick);
		const isFence = item.text.startsWith('```') && !item.text.includes('```', 3);
		if (isFence && lines) {
			for (const line of lines) found.set(line, 'code');
			found.set(lines[0], 'fence').set(item, 'fence');
			open.delete(item.nick);
		} else if (isFence) open.set(item.nick, [item]);
		else lines?.push(item);
	}
	return found;
}

/** `text` in parts that are one of `words`, in any letters, and parts that are not: `[[text, isWord]]`. */
export function marked(text, words) {
	const escaped = words.filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
	if (!escaped.length) return [[text, false]];
	return text.split(new RegExp(`(${escaped.join('|')})`, 'iu')).map((part, i) => [part, i % 2 === 1]).filter(([part]) => part);
}

/** `1234567` as people read it: "1.2 MB". */
export function size(bytes) {
	if (bytes === null) return 'still coming in';
	if (bytes < 1000) return `${bytes} B`;
	const units = ['kB', 'MB', 'GB', 'TB'];
	let value = bytes;
	let unit = -1;
	do {
		value /= 1000;
		unit += 1;
	} while (value >= 999.5 && unit < units.length - 1);
	return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** One of twelve hues for a name, in degrees, the same on every page. */
export function hue(name) {
	let hash = 7;
	for (const character of name.normalize('NFC').toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
	return ((hash ^ (hash >>> 9)) >>> 0) % 12 * 30 + 10;
}

/** What stands in a name's avatar: its first letter, or two. */
export function initials(name) {
	const letters = [...name.replace(/^[@#]/, '').toUpperCase()];
	const next = letters.findIndex((letter, i) => i > 0 && /[._-]/.test(letters[i - 1]));
	return letters[0] + (next > 0 && /\p{L}/u.test(letters[next]) ? letters[next] : '');
}
