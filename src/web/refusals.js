// What the server refuses, in the words of this page: what is wrong, and what to do next here. The codes are the
// protocol's (protocol.md §9); its texts are for people who type the protocol, so they are the last resort. Pure.

export const OFFLINE = 'You are offline. Try again when the connection is back.';

const NAME_RULE = 'Names can only contain letters, digits, "-", "_" and ".", and have at most 32 characters.';
const MODERATORS = 'Only the owner of a room and its moderators can do that. The owner is the registered user who created it.';
const OPERATORS = 'Only operators of this server can do that.';

const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

/** A sentence of the server's as people read it: times of day here, a capital, a full stop. */
export function sentence(text) {
	const local = text.replace(TIME, (time) => when.format(new Date(time)));
	const capital = local.charAt(0).toUpperCase() + local.slice(1);
	return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}

/** By `VERB code`, or by the code alone. `about` is what the person asked for: `{room, nick, isGuess}`. */
const SENTENCES = {
	'NICK nick-taken': ({ nick }) => `The name ${nick} is taken. Pick another one, or enter its password below.`,
	'NICK need-password': ({ nick }) => `The name ${nick} is registered. Pick another one, or enter its password below.`,
	// Without a typed password the page gives one of its own, which cannot be right for somebody else's name.
	'NICK bad-password': ({ nick, isGuess }) => (isGuess ? `The name ${nick} is taken. Pick another one, or enter its password below.` : 'That password is wrong.'),
	'NICK bad-name': () => NAME_RULE,
	'NICK busy': () => 'There were too many wrong passwords. Wait half a minute, then try again.',
	'NICK not-allowed': () => 'This server takes passwords over HTTPS only. Open this page with https:// in front.',
	'PASS bad-password': () => "That is not this server's password.",
	'PASS busy': () => 'There were too many wrong passwords. Wait half a minute, then try again.',
	'JOIN bad-name': ({ room }) => `There can be no room called ${room}. ${NAME_RULE}`,
	'JOIN bad-syntax': ({ room }) => `There can be no room called ${room}. ${NAME_RULE}`,
	'JOIN not-allowed': ({ room }) => `${room} is invite-only. If you were invited, sign in with your registered name.`,
	'JOIN quota': () => 'You are in as many rooms as you can be at once. Leave one first.',
	'TELL not-allowed': ({ room }) => `${room} is invite-only. If you were invited, sign in with your registered name.`,
	'TELL no-such-nick': ({ room }) => `No user named ${room} is online.`,
	'TELL busy': ({ room }) => `${room} cannot receive messages just now. Try again later.`,
	'REGISTER not-allowed': () => 'This name cannot be registered from here.',
	'REGISTER bad-password': () => 'A password needs at least 8 characters.',
	'REGISTER nick-taken': ({ nick }) => `A name like ${nick} is registered already. Choose another name first.`,
	'TOPIC not-allowed': () => 'You cannot change the topic of this room.',
	'REMOVE not-allowed': () => 'You can only delete your own messages.',
	'REMOVE no-such-file': () => 'That message is no longer there.',
	'MODE not-allowed': ({ room }) => (room === '#lobby' ? 'The lobby is always open to everyone.' : MODERATORS),
	'INVITE not-allowed': () => MODERATORS,
	'INVITE no-such-nick': ({ nick }) => `${nick} is not registered. Ask them to type /register, then invite them again.`,
	'INVITE quota': () => 'There are too many invitations. Take some back with /uninvite.',
	'UNINVITE not-allowed': () => MODERATORS,
	'UNINVITE no-such-nick': ({ nick, room }) => `${nick} is not invited to ${room}.`,
	'KICK not-allowed': () => OPERATORS,
	'KICK no-such-nick': ({ nick }) => `No user named ${nick} is online.`,
	'BAN not-allowed': () => OPERATORS,
	'BAN bad-name': () => 'That is neither a name nor an address.',
	'UNBAN not-allowed': () => OPERATORS,
	'UNBAN no-such-nick': ({ nick }) => `${nick} is not banned.`,
	'BANS not-allowed': () => OPERATORS,
	'IGNORE quota': () => 'You ignore as many people as you can. Stop ignoring somebody first: /unignore name',
	'UNIGNORE no-such-nick': ({ nick }) => `You do not ignore ${nick}.`,
	'UPLOAD too-large': () => 'This file is larger than the server accepts.',
	'UPLOAD quota': () => 'There is no space for this file on the server just now.',
	'UPLOAD bad-name': () => 'A file cannot have this name. Rename it, then send it again.',
	'UPLOAD not-allowed': () => 'You cannot send files to this room.',
	'UPLOAD nick-taken': () => 'Your name is taken by somebody else. Choose another one: /nick name',
	'bad-name': () => NAME_RULE,
	'no-such-nick': ({ nick }) => (nick ? `No user named ${nick} is online.` : 'No such user is online.'),
	'no-such-room': ({ room }) => (room ? `There is no room ${room}.` : 'There is no such room.'),
	'not-in-room': ({ room }) => (room ? `You are not in ${room}.` : 'You are not in that room.'),
	'need-nick': () => 'Choose a name first.',
	'need-password': () => 'This server needs a password.',
	'no-such-file': () => 'That file is no longer there.',
	'too-long': () => 'That is too long for one message. Send it in parts, or as a file.',
	'not-allowed': () => 'You are not allowed to do that.',
	'quota': () => 'The server has no room left for this. Try again later.',
	'busy': () => 'The server is busy. Try again in a moment.',
	'shutting-down': () => 'The server is stopping. Try again in a moment.',
	'internal': () => 'The server failed to do that. Try again in a moment.',
};

/** Why something was refused. `reply` is `null` when the connection broke before it came. */
export function refusal(reply, about = {}) {
	if (!reply) return OFFLINE;
	const { verb, code, text } = reply;
	const say = SENTENCES[`${verb} ${code}`] ?? SENTENCES[code];
	if (code === 'banned') return banned('This name is', text);
	return say ? say(about) : sentence(text);
}

/** `bob is banned until 2026-11-27T17:24:09.436Z: spam`, in whichever words: the end and the reason are what counts. */
function banned(who, text) {
	const [until] = text.match(TIME) ?? [];
	const [, reason] = /: (.*)$/s.exec(text.replace(TIME, '')) ?? [];
	return `${who} banned from this server${until ? ` until ${when.format(new Date(until))}` : ''}.${reason ? ` Reason: ${sentence(reason)}` : ''}`;
}

/** Why the server ended the connection: `CLOSED <code> <text>`. */
export function ended({ code, text }) {
	const reason = text.replace(/^\S+ has ended your connection:?\s*/, '');
	switch (code) {
		case 'kicked':
			return `An operator has disconnected you${reason ? `: ${sentence(reason)}` : '.'}`;
		case 'banned':
			return banned('You are', text);
		case 'shutting-down':
			return 'The server is stopping.';
		case 'busy':
			return 'The server is full.';
		case 'idle':
			return 'You were idle for a long time.';
		default:
			return sentence(text);
	}
}
