// Splits a message's text into links, `code`, names and plain text. Pure; returns text, never HTML.

/** The beginnings of web and mail addresses. `www.` and `mailto:` count only at the start of a word. */
const URL_START = /(?:https?:\/\/|(?<![\p{L}\p{N}_.@/-])(?:www\.(?=[^\s./]+\.[^\s.])|mailto:(?=[^\s@]+@[^\s@])))[^\s<>"`]+/giu;

/** The protocols that links may have. Others, such as `javascript:`, never become links. */
const PROTOCOLS = ['http:', 'https:', 'mailto:'];
const CODE = /(?<!`)(`{1,3})([^`\n]+)\1(?!`)/gu;
const WORD = /[\p{L}\p{M}\p{N}_-]/u;

/** The word that mentions everybody in a room. */
export const EVERYBODY = '@room';

/** Returns whether `text` contains `nick`, as a whole word in any case. */
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

/** Returns a link without the punctuation after it, and without a closing bracket that was opened before the link. */
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
		const href = /^www/i.test(url) ? `http://${url}` : url;
		if (!isAddress(href)) continue;
		if (match.index > from) yield { type: 'text', text: text.slice(from, match.index) };
		yield { type: 'link', text: url, href };
		from = match.index + url.length;
	}
	if (from < text.length) yield { type: 'text', text: text.slice(from) };
}

function isAddress(url) {
	try {
		return PROTOCOLS.includes(new URL(url).protocol);
	} catch {
		return false;
	}
}

/** Finds names in plain text, and `@room` if the message `isForAll`. `isNick` and `isRoom` return whether a name exists. */
function* named(text, { me, isForAll, isNick, isRoom }) {
	let from = 0;
	for (const match of text.matchAll(/[@#]?[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*/gu)) {
		const before = text[match.index - 1] ?? ' ';
		if (WORD.test(before) || before === '/' || before === '@' || before === '#') continue;
		const word = match[0].replace(/[.-]+$/, '');
		const bare = word.replace(/^@/, '');
		let type;
		if (word[0] === '#') type = isRoom(word) && 'room';
		else if (me && bare.toLowerCase() === me.toLowerCase()) type = 'me';
		else if (me && isForAll && word.toLowerCase() === EVERYBODY) type = 'me';
		else if (word[0] === '@') type = isNick(bare) && 'nick';
		if (!type) continue;
		if (match.index > from) yield { type: 'text', text: text.slice(from, match.index) };
		yield { type, text: word };
		from = match.index + word.length;
	}
	if (from < text.length) yield { type: 'text', text: text.slice(from) };
}

/**
 * Splits `text` into `{type, text}`: text, link (with its `href`), code, room, nick, me. Joined, the texts are the
 * whole text.
 */
export function parts(text, { me = '', isForAll = false, isNick = () => false, isRoom = () => false } = {}) {
	const found = [];
	let from = 0;
	const plain = (piece) => {
		for (const part of linked(piece)) {
			if (part.type === 'text') found.push(...named(part.text, { me, isForAll, isNick, isRoom }));
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

/** Splits `text` at `words`, whatever the case of their letters: `[[text, isWord]]`. */
export function marked(text, words) {
	const escaped = words.filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
	if (!escaped.length) return [[text, false]];
	return text.split(new RegExp(`(${escaped.join('|')})`, 'iu')).map((part, i) => [part, i % 2 === 1]).filter(([part]) => part);
}

/** Formats a number of bytes: "1.2 MB". `null` means that it is not known yet. */
export function size(bytes) {
	if (bytes === null) return 'uploading…';
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

/** Returns one of twelve hues for a name, in degrees. It is the same on every page. */
export function hue(name) {
	let hash = 7;
	for (const character of name.normalize('NFC').toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
	return ((hash ^ (hash >>> 9)) >>> 0) % 12 * 30 + 10;
}

/** Returns one or two letters for the avatar of a name. */
export function initials(name) {
	const letters = [...name.replace(/^[@#]/, '').toUpperCase()];
	const next = letters.findIndex((letter, i) => i > 0 && /[._-]/.test(letters[i - 1]));
	return letters[0] + (next > 0 && /\p{L}/u.test(letters[next]) ? letters[next] : '');
}
