// Converts refusals to sentences for the user: what is wrong, and what to do next on this page. The codes are in
// protocol.md §9. The server's own texts are for people who type the protocol, so few of them are shown. Pure.

import { isRoom } from './wire.js';

export const OFFLINE = 'You are offline. Try again when the connection is back.';

const NAME_RULE = 'Names can only contain letters, digits, "-", "_" and ".", and have at most 32 characters.';
const MODERATORS = 'Only the owner of a room and its moderators can do that. The owner is the registered user who created it.';
const OPERATORS = 'Only operators of this server can do that.';

const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

/** Formats a text from the server: with local times, a capital letter and a full stop. */
export function sentence(text) {
	const local = text.replace(TIME, (time) => when.format(new Date(time)));
	const capital = local.charAt(0).toUpperCase() + local.slice(1);
	return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}

/**
 * The sentences, by `VERB code` or by the code alone. Their functions get `{room, nick, isGuess}`: what the user has
 * requested.
 */
const SENTENCES = {
	'NICK nick-taken': ({ nick }) => `The name ${nick} is taken. Pick another one, or enter its password below.`,
	'NICK need-password': ({ nick }) => `The name ${nick} is registered. Pick another one, or enter its password below.`,
	// If the user has typed no password, the page has sent its own, which cannot be right for another user's name.
	'NICK bad-password': ({ nick, isGuess }) => (isGuess ? `The name ${nick} is taken. Pick another one, or enter its password below.` : 'That password is wrong.'),
	'NICK bad-name': () => NAME_RULE,
	'NICK busy': () => 'There were too many wrong passwords. Wait half a minute, then try again.',
	'NICK not-allowed': () => 'This server takes passwords over HTTPS only. Open this page with https:// in front.',
	'PASS bad-password': () => "That is not this server's password.",
	'PASS busy': () => 'There were too many wrong passwords. Wait half a minute, then try again.',
	'JOIN bad-name': ({ room }) => `A room cannot be called ${room}. ${NAME_RULE}`,
	'JOIN bad-syntax': ({ room }) => `A room cannot be called ${room}. ${NAME_RULE}`,
	'JOIN not-allowed': ({ room }) => `${room} is invite-only. If you were invited, sign in with your registered name.`,
	'JOIN quota': () => 'You are in too many rooms, or this server has too many. Leave one, then try again.',
	'TELL not-allowed': ({ room }) => `${room} is invite-only. If you were invited, sign in with your registered name.`,
	'TELL no-such-nick': ({ room }) => `No user named ${room} is online.`,
	'TELL busy': ({ room }) => `${room} cannot receive messages just now. Try again later.`,
	'REGISTER not-allowed': () => 'This name cannot be registered from here. If you opened this page with http://, try https://.',
	'REGISTER busy': () => 'Too many names were registered just now. Wait half a minute, then try again.',
	'SEARCH bad-syntax': () => 'Search for at least one word, and at most 16.',
	'REGISTER bad-password': () => 'A password needs at least 8 characters.',
	'REGISTER nick-taken': ({ nick }) => `A name like ${nick} is registered already. Choose another name first.`,
	'TOPIC not-allowed': () => 'You cannot change the topic of this room. Ask its owner.',
	'REMOVE not-allowed': () => 'You can only delete your own messages.',
	'REMOVE no-such-file': () => 'That message is no longer there.',
	'EDIT not-allowed': () => 'You can only edit your own messages.',
	'EDIT no-such-id': () => 'That message was deleted, so it cannot be edited.',
	'REACT quota': () => 'This message cannot have any more reactions.',
	'REACT bad-syntax': () => 'You can only react with one emoji.',
	'TELL no-such-id': () => 'The message you replied to no longer exists. Retry sends yours as an ordinary message.',
	'AWAY too-long': () => 'That is too long. Use at most 300 letters.',
	'MODE not-allowed': ({ room }) => (room === '#lobby' ? 'The lobby is always open to everyone.' : MODERATORS),
	'INVITE not-allowed': () => MODERATORS,
	'INVITE no-such-nick': ({ nick }) => `${nick} is not registered. Ask them to type /register, then invite them again.`,
	'INVITE quota': () => 'There are too many invitations. Withdraw some with /uninvite.',
	'UNINVITE not-allowed': () => MODERATORS,
	'UNINVITE no-such-nick': ({ nick, room }) => `${nick} is not invited to ${room}.`,
	'KICK not-allowed': () => OPERATORS,
	'KICK no-such-nick': ({ nick }) => `No user named ${nick} is online.`,
	'BAN not-allowed': () => OPERATORS,
	'BAN bad-name': () => 'That is neither a name nor an address.',
	'UNBAN not-allowed': () => OPERATORS,
	'UNBAN no-such-nick': ({ nick }) => `${nick} is not banned.`,
	'BANS not-allowed': () => OPERATORS,
	'HOOK not-allowed': () => 'To add a hook, you need a registered name that may write in this room. To register yours, type /register.',
	'HOOKS not-allowed': () => 'Only a registered name can have hooks. To register yours, type /register.',
	'HOOK bad-name': () => `A hook needs a name. ${NAME_RULE}`,
	'HOOK bad-syntax': () => 'Give the hook a name, such as alerts.',
	'HOOK quota': () => 'You already have a hook of this name, or as many hooks as one user can have. Delete one.',
	'REVOKE bad-name': () => 'This hook is no longer there.',
	'IGNORE quota': () => 'You are ignoring too many users. To see the messages of one again, type /unignore name.',
	'UNIGNORE no-such-nick': ({ nick }) => `You do not ignore ${nick}.`,
	'TEXT too-large': () => 'This text is too long for one message. Send it as a file.',
	'TEXT busy': () => 'The server is busy. Try again in a moment.',
	'TEXT no-such-nick': ({ room }) => `No user named ${room} is online.`,
	'TEXT not-allowed': ({ room }) => `${room} is invite-only. If you were invited, sign in with your registered name.`,
	'TEXT no-such-id': () => 'The message you replied to no longer exists. Retry sends yours as an ordinary message.',
	'TEXT incomplete': () => 'The text did not arrive. Try again.',
	'too-large': () => 'This file is larger than the server accepts.',
	'UPLOAD quota': () => 'The server has no space for this file just now. Try again later.',
	'UPLOAD bad-name': () => 'A file cannot have this name. Rename it, then send it again.',
	'UPLOAD busy': () => 'Too many files are being uploaded just now. Try again in a moment.',
	'UPLOAD not-allowed': ({ room }) => (isRoom(room) ? 'You cannot send files to this room.' : `Files in direct messages go only from one registered name to another: ${room} must register too.`),
	'UPLOAD no-such-nick': ({ room }) => `No user named ${room} is registered or online.`,
	'UPLOAD nick-taken': () => 'Another user has your name. Choose another one: /nick name',
	'bad-name': () => NAME_RULE,
	'no-such-nick': ({ nick }) => (nick ? `No user named ${nick} is online.` : 'No such user is online.'),
	'no-such-room': ({ room }) => (room ? `There is no room ${room}.` : 'There is no such room.'),
	'not-in-room': ({ room }) => (room ? `You are not in ${room}.` : 'You are not in that room.'),
	'need-nick': () => 'Choose a name first.',
	'need-password': () => 'This server needs a password. Reload this page to enter it.',
	'bad-password': () => 'That password is wrong.',
	'nick-taken': ({ nick }) => `The name ${nick ?? ''} is taken. Choose another one.`,
	'no-such-file': () => 'That file is no longer there.',
	'no-such-id': () => 'That message is no longer there.',
	'need-digest': () => 'The upload failed. Try again.',
	'out-of-step': () => 'The upload failed. Try again.',
	'incomplete': () => 'The upload was interrupted. Try again.',
	'corrupt': () => 'The file was damaged on the way. Try again.',
	'too-long': () => 'That is too long for one message. Send it in parts, or as a file.',
	'not-utf8': () => 'That text cannot be sent. Send it as a file.',
	'bad-syntax': () => 'Something is missing or wrong in this command. Type /help to see how it is written.',
	'unknown-verb': () => 'This server cannot do that.',
	'not-allowed': () => 'You are not allowed to do that.',
	'quota': () => 'The server has no space for this. Try again later.',
	'busy': () => 'The server is busy. Try again in a moment.',
	'shutting-down': () => 'The server is stopping. Try again in a moment.',
	'cut-off': () => 'The server cannot reach the others that share this chat. Try again in a moment.',
	'internal': () => 'The server failed to do that. Try again in a moment.',
};

/** Returns why something was refused. `reply` is `null` if the connection broke before the reply arrived. */
export function refusal(reply, about = {}) {
	if (!reply) return OFFLINE;
	const { verb, code, text } = reply;
	const say = SENTENCES[`${verb} ${code}`] ?? SENTENCES[code];
	if (code === 'banned') return banned('This name is', text);
	return say ? say(about) : sentence(text);
}

/** Reads the end and the reason of a ban from a text such as `bob is banned until 2026-11-27T17:24:09.436Z: spam`. */
function banned(who, text) {
	const [until] = text.match(TIME) ?? [];
	const [, reason] = /: (.*)$/s.exec(text.replace(TIME, '')) ?? [];
	return `${who} banned from this server${until ? ` until ${when.format(new Date(until))}` : ''}.${reason ? ` Reason: ${sentence(reason)}` : ''}`;
}

/** Returns why the server closed the connection: `CLOSED <code> <text>`. */
export function ended({ code, text }) {
	const reason = text.replace(/^\S+ has closed your connection:?\s*/, '');
	switch (code) {
		case 'kicked':
			return `An operator has disconnected you${reason ? `: ${sentence(reason)}` : '.'}`;
		case 'banned':
			return banned('You are', text);
		case 'cut-off':
			return 'The server cannot reach the others that share this chat.';
		case 'shutting-down':
			return 'The server is stopping.';
		case 'busy':
			return 'The server is full.';
		case 'idle':
			return 'You were idle for a long time.';
		case 'need-password':
			return 'This server needs a password. Reload this page to enter it.';
		default:
			return sentence(text);
	}
}

/** Returns how long messages are saved, from the last line of `HELP`. */
export function keeping(text) {
	if (/\bstops\b/.test(text)) return 'Messages are deleted when the server stops.';
	const [days = ''] = / for (?:a day|\d+ days)/.exec(text) ?? [];
	return `Messages on this server are saved${days}.`;
}
