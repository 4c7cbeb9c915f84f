// What can be typed: `/commands`, and the completion of these, of nicks and of rooms. Pure.

/** `args` as they are shown to people; `of` says what its first word completes to. */
export const COMMANDS = [
	{ name: 'join', args: '#room', of: 'room', does: 'Enter a room; it is created if there is none' },
	{ name: 'leave', args: '[#room]', of: 'room', does: 'Leave this room' },
	{ name: 'msg', args: 'nick [text]', of: 'nick', does: 'Send a direct message' },
	{ name: 'me', args: 'text', does: 'Say what you are doing' },
	{ name: 'nick', args: 'name [password]', does: 'Change your name' },
	{ name: 'topic', args: '[text]', does: 'Show or change the topic of this room; - clears it' },
	{ name: 'search', args: 'words', does: 'Search the messages of this room' },
	{ name: 'files', args: '', does: 'Show the files of this room' },
	{ name: 'upload', args: '', does: 'Send a file to this room' },
	{ name: 'who', args: '', does: 'Show who is here' },
	{ name: 'rooms', args: '', does: 'Find or create a room' },
	{ name: 'ignore', args: '[nick]', of: 'nick', does: 'Hide the messages of somebody; alone: list who is hidden' },
	{ name: 'unignore', args: 'nick', of: 'nick', does: 'Show the messages of somebody again' },
	{ name: 'mode', args: '[invite or open]', does: 'Make this room invite-only, or open it to everyone' },
	{ name: 'invite', args: '[nick [keeper]]', of: 'nick', does: 'Invite somebody, also as a moderator; alone: list who is invited' },
	{ name: 'uninvite', args: 'nick', of: 'nick', does: 'Take an invitation back' },
	{ name: 'kick', args: 'nick [reason]', of: 'nick', does: 'Disconnect somebody (operators)' },
	{ name: 'ban', args: 'nick [12h] [reason]', of: 'nick', does: 'Keep somebody out, for a time (operators)' },
	{ name: 'unban', args: 'nick', does: 'Let somebody in again (operators)' },
	{ name: 'bans', args: '', does: 'List who is banned (operators)' },
	{ name: 'register', args: '[password]', does: 'Reserve your name permanently' },
	{ name: 'password', args: '', does: 'Show the password of your name, to use it elsewhere' },
	{ name: 'forget', args: '', does: 'Leave this server and delete your name and password from this browser' },
	{ name: 'help', args: '', does: 'Show commands and keys' },
];

const ALIASES = { part: 'leave', j: 'join', tell: 'msg', query: 'msg', members: 'who', list: 'rooms' };

/** What people type out of habit, and what does it here. */
export const HABITS = {
	quit: 'To leave, close this tab. /leave leaves this room; /forget deletes your name and password from this browser.',
	history: 'Scroll up to read earlier messages. /search finds words in them.',
	away: 'There is no away status here. Your messages wait for you.',
	clear: 'There is nothing to clear. /leave leaves this room.',
};
HABITS.exit = HABITS.quit;

/**
 * What was typed, as `{name, rest}` of a command, `{text}` to be said, or `{unknown}`. A path such as `/etc/hosts` is
 * something said; `//x` says `/x`.
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
 * What can stand for the word before `caret`: `{from, to, options: [{insert, label, hint}]}`, or `null`.
 * `nicks` and `rooms` are names, the likeliest first. Without `asked` (Tab) plain words are left alone.
 */
export function complete(text, caret, { nicks, rooms, asked = false }) {
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
	} else if (word.startsWith('@') || (isFirst && command.of === 'nick') || (asked && word)) {
		const at = word.startsWith('@') && !isFirst ? '@' : '';
		const after = from === 0 && !at ? ': ' : ' ';
		options = nicks.filter(starts).map((name) => ({ insert: at + name + (isFirst ? ' ' : after), label: name, hint: '' }));
	}
	const whole = options.length === 1 && options[0].insert.trim() === word;
	return options.length && !whole ? { from, to: caret, options: options.slice(0, 20) } : null;
}
