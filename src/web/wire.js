// Parses and writes the protocol's lines (protocol.md §3, §5). Pure.

/** The maximum length of a line to the server in bytes, including its ending (protocol.md §3.7). */
export const LINE_BYTES_MAX = 4096;

const encoder = new TextEncoder();
export const bytesOf = (text) => encoder.encode(text);
export const byteLength = (text) => bytesOf(text).length;

/** Returns the first `count` words of a line, and the rest of it, which may be ''. */
export function words(line, count) {
	const found = [];
	let from = 0;
	for (let i = 0; i < count; i++) {
		const at = line.indexOf(' ', from);
		if (at < 0) {
			found.push(line.slice(from));
			from = line.length;
		} else {
			found.push(line.slice(from, at));
			from = at + 1;
		}
	}
	return [...found, line.slice(from)];
}

/** Returns the value of a tag, or '' if it is malformed. */
function decoded(value) {
	try {
		return decodeURIComponent(value);
	} catch {
		return '';
	}
}

/** The maximum number of different reactions to a message (§4.37). */
const REACTS_MAX = 20;

/** Parses the tag `reacts=👍*3,🎉*1`: `[{emoji, count, nicks}]`, where `nicks` is not known (reactions.js). */
function parseReacts(value) {
	const found = [];
	for (const part of value.split(',').slice(0, REACTS_MAX)) {
		const at = part.lastIndexOf('*');
		const count = Number(part.slice(at + 1));
		if (at > 0 && count > 0) found.push({ emoji: part.slice(0, at), count, nicks: null });
	}
	return found;
}

/** Returns the tags of an event that the page uses (§4.35): `reply=8;edited=2026-11-22T11:22:05.007Z;reacts=👍*3`. */
function parseTags(tags) {
	const found = {};
	for (const tag of tags.split(';')) {
		const [name] = tag.split('=', 1);
		const value = decoded(tag.slice(name.length + 1));
		if (name === 'reply' || name === 'of') found[name] = Number(value);
		else if (name === 'lines') found.count = Number(value);
		else if (name === 'edited') found.edited = Date.parse(value);
		else if (name === 'reacts') found.reacts = parseReacts(value);
		else if (name === 'removed') found.isRemoved = true;
		else if (name === 'everybody') found.isForAll = true;
	}
	return found;
}

/**
 * Parses an event without its stamp: `MSG #lobby ann hello`, with its tags before it, if any. Returns `null` for an unknown
 * verb (§2.4: skip it).
 */
function parseEvent(line) {
	if (line.startsWith('@')) {
		const [tags, event] = words(line, 1);
		const parsed = parseEvent(event);
		return parsed && { ...parsed, ...parseTags(tags.slice(1)) };
	}
	const [verb, room, nick, rest] = words(line, 3);
	if (!nick) return null;
	const event = { verb, room, nick };
	switch (verb) {
		case 'MSG':
		case 'ME':
		case 'TOPIC':
		case 'PART':
		case 'AWAY':
			return { ...event, text: rest };
		case 'JOIN':
		case 'INVITE':
			return event;
		case 'NICK':
			return { ...event, to: rest };
		case 'REMOVE':
			return { ...event, target: Number(rest) };
		case 'EDIT': {
			const [target, text] = words(rest, 1);
			return { ...event, target: Number(target), text };
		}
		case 'REACT':
		case 'UNREACT': {
			const [target, emoji] = words(rest, 1);
			return { ...event, target: Number(target), emoji };
		}
		case 'SEEN': {
			const [seen, reader] = words(rest, 1);
			return { ...event, seen: Number(seen), reader };
		}
		case 'FILE': {
			const [file, size, name] = words(rest, 2);
			return { ...event, file: Number(file), size: size === '*' ? null : Number(size), name };
		}
		case 'STORED': {
			const [file, size] = words(rest, 2);
			return { ...event, file: Number(file), size: Number(size) };
		}
		default:
			return null;
	}
}

/** Parses a line from the server. Returns a value with a `kind`, or `null` for an unknown line. */
export function parse(line) {
	const [word, rest] = words(line, 1);
	switch (word) {
		case 'OK': {
			const [verb, text] = words(rest, 1);
			return { kind: 'ok', ok: true, verb, text };
		}
		case 'ERR': {
			const [verb, code, text] = words(rest, 2);
			return { kind: 'err', ok: false, verb, code, text };
		}
		case 'LIVE':
		case 'PAST': {
			const [id, time, line] = words(rest, 2);
			const event = parseEvent(line);
			return event && { kind: word.toLowerCase(), ...event, id: id === '-' ? null : Number(id), time: Date.parse(time) };
		}
		case 'ROOM': {
			const [room, members, topic] = words(rest, 2);
			return { kind: 'room', room, members: Number(members), topic };
		}
		case 'USER': {
			const [room, nick, away] = words(rest, 2);
			return { kind: 'user', room, nick, away };
		}
		case 'REACT': {
			// A line of `REACTS`: here the event has a stamp.
			const [, nick, emoji] = words(rest, 2);
			return { kind: 'reaction', nick, emoji };
		}
		case 'READER': {
			const [room, reader, seen] = words(rest, 2);
			return { kind: 'reader', room, reader, seen: Number(seen) };
		}
		case 'HOOK': {
			const [label, room] = words(rest, 2);
			return { kind: 'hook', label, room };
		}
		case 'IGNORE':
			return { kind: 'ignored', nick: rest };
		case 'INVITE': {
			// A line of `INVITES`, or an invitation: `INVITE #plan ann`.
			const [room, nick, role] = words(rest, 2);
			return { kind: role ? 'invited' : 'invite', room, nick, role };
		}
		case 'BAN': {
			const [whom, until, by, text] = words(rest, 3);
			return { kind: 'ban', whom, until: until === '-' ? null : Date.parse(until), by, text };
		}
		case 'HELP':
			return { kind: 'help', text: rest };
		case 'HELLO': {
			const [, server, text] = words(rest, 2);
			return { kind: 'hello', server, text };
		}
		case 'NOTE': {
			const [, nick, text] = words(rest, 2);
			return { kind: 'note', nick, text };
		}
		case 'GAP':
			return { kind: 'gap', room: rest };
		case 'AWAY': {
			// Without a stamp: the user to whom a message is being sent is away.
			const event = parseEvent(line);
			return event && { kind: 'away', ...event };
		}
		case 'PART': // without a stamp: the server has removed this connection from the room
			return { kind: 'out', room: words(rest, 1)[0] };
		case 'CLOSED': {
			const [code, text] = words(rest, 1);
			return { kind: 'closed', code, text };
		}
		default:
			return null;
	}
}

// §3.3. Matches the characters that the server removes. The page removes them too, so that it recognises the user's
// own message when it comes back.
const TERMINAL = new RegExp(
	[
		'\\x1b\\[[^\\x40-\\x7e]*[\\x40-\\x7e]?', // ESC [ up to its final byte
		'\\x1b[\\]PX^_](?:(?!\\x07|\\x1b\\\\)[^])*(?:\\x07|\\x1b\\\\)?', // ESC ] P X ^ _ up to BEL or ESC \
		'\\x1b[^]?', // any other ESC with its character
		'[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]',
	].join('|'),
	'gu',
);

/** Cleans a text as the server does. */
export const clean = (text) => text.replace(TERMINAL, '');

/** Returns the cleaned lines of a text, without empty ones at its end. */
const linesOf = (text) => text.split(/\r\n|\n|\r/).map(clean).join('\n').trimEnd().split('\n');

/** Splits what the user has typed into lines that are short enough after `prefix` ("TELL #room "). */
export function pieces(text, prefix) {
	const room = LINE_BYTES_MAX - 2 - byteLength(prefix);
	return linesOf(text).flatMap((line) => cut(line || ' ', room));
}

/** The maximum size of a `TEXT` (protocol.md §4.38). */
const TEXT_BYTES_MAX = 65_536;
const TEXT_LINES_MAX = 1000;
const TEXT_LINE_BYTES_MAX = 4000;

/** Returns the lines of a text that can be sent with `TEXT`. Returns `null` if it has only one line, or is too long. */
export function block(text) {
	const lines = linesOf(text);
	const fits = lines.length <= TEXT_LINES_MAX && byteLength(lines.join('\n')) <= TEXT_BYTES_MAX
		&& lines.every((line) => byteLength(line) <= TEXT_LINE_BYTES_MAX);
	return lines.length > 1 && fits && lines.some(Boolean) ? lines : null;
}

/** Cuts `text` into parts of at most `bytes` bytes. It cuts at a space if there is one in the last third of a part. */
function cut(text, bytes) {
	const parts = [];
	while (byteLength(text) > bytes) {
		let at = 0;
		let used = 0;
		for (const character of text) {
			used += byteLength(character);
			if (used > bytes) break;
			at += character.length;
		}
		const space = text.lastIndexOf(' ', at);
		if (space > (at * 2) / 3) at = space;
		parts.push(text.slice(0, at));
		text = text.slice(at);
	}
	parts.push(text);
	return parts;
}

/** Returns the form in which names are compared. It is close to the server's form (§3.5). */
export const fold = (name) => name.normalize('NFC').toLowerCase();

export const isRoom = (name) => name.startsWith('#');
