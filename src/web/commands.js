// What can be typed: `/commands`, and the completion of these, of nicks and of rooms. Pure.

/** `args` as they are shown to people; `of` says what its first word completes to. */
export const COMMANDS = [
	{ name: 'join', args: '#room', of: 'room', does: 'Enter a room; it is made if there is none' },
	{ name: 'leave', args: '[#room]', of: 'room', does: 'Leave this room' },
	{ name: 'msg', args: 'nick [text]', of: 'nick', does: 'Talk to one person alone' },
	{ name: 'me', args: 'text', does: 'Say what you do' },
	{ name: 'nick', args: 'name [password]', does: 'Change your name' },
	{ name: 'topic', args: '[text]', does: 'Show or set what this room is about; - clears it' },
	{ name: 'search', args: 'words', does: 'Find what was said here' },
	{ name: 'files', args: '', does: 'Show the files of this room' },
	{ name: 'upload', args: '', does: 'Send a file to this room' },
	{ name: 'who', args: '', does: 'Show who is here' },
	{ name: 'rooms', args: '', does: 'Find or make a room' },
	{ name: 'register', args: '[password]', does: 'Make your name yours for good' },
	{ name: 'password', args: '', does: 'Show the password of your name, to use it elsewhere' },
	{ name: 'forget', args: '', does: 'Leave, and make this browser forget you' },
	{ name: 'help', args: '', does: 'Show commands and keys' },
];

const ALIASES = { part: 'leave', j: 'join', tell: 'msg', query: 'msg', members: 'who', list: 'rooms', quit: 'forget' };

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
