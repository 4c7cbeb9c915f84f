// The panel of a room's members: who is in the room, what the user may do with them, and who is invited.

import { fold } from '../wire.js';
import { avatar, el, icon, setText, sync } from './dom.js';
import { hooks } from './hooks.js';

/** The maximum number of members that are drawn. The user finds others by typing. */
const MEMBERS_SHOWN = 200;

const ROLES = { maker: 'owner', keeper: 'moderator' };

export function people(chat, ui) {
	let invited = []; // `{nick, role}`, to the room that is shown
	let isManager = false; // may invite and withdraw invitations

	/** Creates the content of the panel. `members` must be called whenever the members have changed. */
	function fill(room) {
		chat.who(room);
		const more = el('div');
		manage(room, more);
		return [
			el('p.topic', { dir: 'auto' }),
			el('input', { type: 'search', placeholder: 'Find a user', 'aria-label': 'Find a user', oninput: ui.changed }),
			el('ul.people'), el('p.small'), more, hooks(chat, ui, room),
		];
	}

	function members(room, [topic, find, list, more]) {
		setText(topic, room.topic);
		const nicks = [...room.members.values()].filter((nick) => nick.toLowerCase().includes(find.value.toLowerCase()));
		nicks.sort(new Intl.Collator(undefined, { numeric: true }).compare);
		sync(list, nicks.slice(0, MEMBERS_SHOWN).map((nick) => {
			const isMe = chat.isMe(nick);
			const isIgnored = chat.isIgnored(nick);
			const away = chat.away.of(nick);
			const hint = [isMe && 'you', isIgnored && 'ignored', away && `away: ${away}`].filter(Boolean).join(', ');
			const build = () => el('li', {},
				el('button', { disabled: isMe, onclick: () => ui.open(nick) }, avatar(nick, '.small'), el('span.name', { dir: 'auto' }, nick), hint && el('span.hint', { dir: 'auto', title: hint }, hint)),
				!isMe && el('button.tool', { title: 'More', 'aria-label': `More about ${nick}`, onclick: () => act(room, nick) }, icon('more')));
			return { key: nick, sign: hint, build };
		}));
		const rest = nicks.length - MEMBERS_SHOWN;
		setText(more, rest > 0 ? `and ${rest.toLocaleString()} more` : '');
	}

	/** Lets the user choose what to do with another user. */
	async function act(room, nick) {
		const isInvited = invited.some((one) => one.nick === fold(nick) && one.role !== 'maker');
		const choice = await ui.choose(nick, {
			msg: 'Send a message',
			...(chat.isIgnored(nick) ? { unignore: 'Stop ignoring' } : { ignore: 'Ignore' }),
			...(isManager && (isInvited ? { uninvite: `Withdraw the invitation to ${room.name}` } : room.isClosed ? {} : { invite: `Invite to ${room.name}` })),
			...(chat.isOperator && { kick: 'Disconnect', ban: 'Ban' }),
		});
		const time = choice === 'ban' && (await ui.choose(`Ban ${nick}`, { '1h': 'For an hour', '1d': 'For a day', '-': 'Until it is lifted' }));
		if (choice === '' || time === '') return;
		await ui.command(choice, time ? `${nick} ${time}` : nick);
	}

	/** Shows who is invited to a room, and lets the room's owner and moderators change that. */
	async function manage(room, box) {
		const found = await chat.list(`INVITES ${room.name}`);
		if (!box.isConnected) return; // the panel shows something else by now
		invited = found.events.reverse();
		const mine = invited.find(({ nick }) => nick === fold(chat.nick));
		isManager = Boolean(ROLES[mine?.role]);
		const again = async (name, rest) => {
			await ui.command(name, rest);
			await manage(room, box);
		};
		const row = ({ nick, role }) => el('li', {}, avatar(nick, '.small'), el('span.name', { dir: 'auto' }, nick), el('span.hint', {}, ROLES[role] ?? ''),
			isManager && role !== 'maker' && el('button.tool', { title: 'Withdraw the invitation', 'aria-label': `Withdraw the invitation of ${nick}`, onclick: () => again('uninvite', nick) }, icon('close')));
		const name = el('input', { placeholder: 'Name', 'aria-label': 'Invite a registered user', maxLength: 32, spellcheck: false });
		const onsubmit = (event) => {
			event.preventDefault();
			if (name.value.trim()) again('invite', name.value.trim());
		};
		const mode = room.isClosed ? 'open' : 'invite';
		const parts = [
			(room.isClosed || isManager) && invited.length && [el('h3', {}, 'Invited'), el('ul.people', {}, ...invited.map(row))],
			isManager && el('form', { onsubmit }, el('div.both', {}, name, el('button.primary', {}, 'Invite'))),
			(isManager || chat.isOperator) && room.name !== '#lobby' && el('div.acts', {}, el('button.plain', { onclick: () => again('mode', mode) }, icon('lock'), room.isClosed ? 'Open to everyone' : 'Make invite-only')),
		];
		box.replaceChildren(...parts.flat().filter(Boolean));
	}

	return { fill, members };
}
