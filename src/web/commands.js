// The `/commands`, and completion of commands, nicks, rooms and emoji. Pure.

import { findEmoji } from './emoji.js';
import { EVERYBODY } from './text.js';

/** The commands. `args` is shown to the user; `of` says how the first argument is completed. */
export const COMMANDS = [
	{ name: 'join', args: '#room', of: 'room', does: 'Join a room, or create it' },
	{ name: 'leave', args: '[#room]', of: 'room', does: 'Leave this room' },
	{ name: 'msg', args: 'nick [text]', of: 'nick', does: 'Send a direct message' },
	{ name: 'me', args: 'text', does: 'Send an action: /me waves' },
	{ name: 'nick', args: 'name [password]', does: 'Change your name' },
	{ name: 'topic', args: '[text]', does: 'Show or change the topic of this room; - clears it' },
	{ name: 'remove', args: '[number]', does: 'Delete your last message, or the one with this number (the last part of its link)' },
	{ name: 'search', args: 'words', does: 'Search the messages of this room' },
	{ name: 'files', args: '', does: 'Show the files of this room' },
	{ name: 'upload', args: '', does: 'Send a file to this room' },
	{ name: 'who', args: '', does: 'Show who is here' },
	{ name: 'rooms', args: '', does: 'Find or create a room' },
	{ name: 'away', args: '[text]', does: 'Show others that you are away, and why; without a text: that you are back' },
	{ name: 'ignore', args: '[nick]', of: 'nick', does: 'Hide the messages of a user; without a name: list whom you ignore' },
	{ name: 'unignore', args: 'nick', of: 'nick', does: 'Show the messages of a user again' },
	{ name: 'mode', args: '[invite or open]', does: 'Make this room invite-only, or open it to everyone' },
	{ name: 'invite', args: '[nick [moderator]]', of: 'nick', does: 'Invite a user, or make them a moderator; without a name: list who is invited' },
	{ name: 'uninvite', args: 'nick', of: 'nick', does: 'Withdraw an invitation' },
	{ name: 'kick', args: 'nick [reason]', of: 'nick', does: 'Disconnect a user (operators only)' },
	{ name: 'ban', args: 'nick [12h] [reason]', of: 'nick', does: 'Ban a user, for a time (operators only)' },
	{ name: 'unban', args: 'nick', does: 'Lift a ban (operators only)' },
	{ name: 'bans', args: '', does: 'List the bans (operators only)' },
	{ name: 'register', args: '[password]', does: 'Reserve your name permanently' },
	{ name: 'password', args: '', does: 'Show the password of your name, to use it elsewhere' },
	{ name: 'forget', args: '', does: 'Leave this server and delete your name and password from this browser' },
	{ name: 'help', args: '', does: 'Show commands and keys' },
];

const ALIASES = { part: 'leave', j: 'join', tell: 'msg', query: 'msg', members: 'who', list: 'rooms', delete: 'remove' };

/** Commands of other chats, and what to use here instead. */
export const HABITS = {
	quit: 'To leave, close this tab. /leave leaves this room; /forget deletes your name and password from this browser.',
	history: 'Scroll up to read earlier messages. /search finds words in them.',
	clear: 'There is nothing to clear. /leave leaves this room.',
};
HABITS.exit = HABITS.quit;

/** Returns how a command is typed: `/msg nick [text]`. */
export const usageOf = (name) => COMMANDS.filter((command) => command.name === name).map(({ args }) => `/${name} ${args}`).join();

/**
 * Parses what the user has typed. Returns a command `{name, rest}`, `{text}` to send, or `{unknown}`. A path such as
 * `/etc/hosts` is text, and `//x` sends `/x`.
 */
export function understand(input) {
	if (!input.startsWith('/')) return { text: input };
	if (input.startsWith('//')) return { text: input.slice(1) };
	const match = /^\/([^\s/]+)(?:\s+([^]*))?$/u.exec(input);
	if (!match) return { text: input };
	const typed = match[1].toLowerCase();
	const name = ALIASES[typed] ?? typed;
	if (!COMMANDS.some((command) => command.name === name)) return { unknown: typed };
	return { name, rest: (match[2] ?? '').trim() };
}

/**
 * Returns the completions of the word before `caret`, `{from, to, options: [{insert, label, hint}]}`, or `null`.
 * `nicks` and `rooms` are names, the most likely first. `@room` is offered if `hasEverybody`. A word without `@`, `#` or `/` is completed only if `asked`
 * (Tab).
 */
export function complete(text, caret, { nicks, rooms, hasEverybody = false, asked = false }) {
	const before = text.slice(0, caret);
	const word = /[^\s]*$/u.exec(before)[0];
	const from = caret - word.length;
	const needle = word.slice(/^[@#/]/.test(word) ? 1 : 0).normalize('NFC').toLowerCase();
	const starts = (name) => name.replace(/^#/, '').toLowerCase().startsWith(needle);
	const command = from > 0 && COMMANDS.find(({ name }) => before.toLowerCase().startsWith(`/${name} `));
	const isFirst = command && before.slice(0, from).trim() === `/${command.name}`;
	let options = [];
	if (from === 0 && word.startsWith('/')) {
		options = COMMANDS.filter(({ name }) => name.startsWith(needle)).map(({ name, args, does }) => ({
			insert: `/${name} `,
			label: `/${name} ${args}`.trim(),
			hint: does,
		}));
	} else if (word.startsWith('#') || (isFirst && command.of === 'room')) {
		options = rooms.filter(starts).map((name) => ({ insert: `${name} `, label: name, hint: '' }));
	} else if (/^:[a-z0-9_+-]{2,}$/.test(word)) {
		options = findEmoji(word, 8).map(({ emoji, name }) => ({ insert: `${emoji} `, label: `${emoji} :${name}:`, hint: '' }));
	} else if (word.startsWith('@') || (isFirst && command.of === 'nick') || (asked && word)) {
		const at = word.startsWith('@') && !isFirst ? '@' : '';
		const after = from === 0 && !at ? ': ' : ' ';
		options = nicks.filter(starts).map((name) => ({ insert: at + name + (isFirst ? ' ' : after), label: name, hint: '' }));
		if (hasEverybody && at && word && EVERYBODY.startsWith(word.toLowerCase())) options.push({ insert: `${EVERYBODY} `, label: EVERYBODY, hint: 'Mention everybody. If the room has an owner, only the owner and moderators can.' });
	}
	const whole = options.length === 1 && options[0].insert.trim() === word;
	return options.length && !whole ? { from, to: caret, options: options.slice(0, 20) } : null;
}
