// What stands beside the messages: who is here, what was searched, the room's files, oneself, help.

import { COMMANDS } from '../commands.js';
import { addressOf } from '../files.js';
import { marked, size } from '../text.js';
import { avatar, byId, el, icon, setText, sync } from './dom.js';

/** Members that are drawn; more are found by typing. */
const MEMBERS_SHOWN = 200;
const FILES_SHOWN = 500;
/** So many does the server find at once (protocol.md §4.23). */
const FOUND_MAX = 100;

const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

const KEYS = [
	['Enter, Shift Enter', 'Send; a new line'],
	['Tab', 'Complete a name, a room, a command'],
	['Ctrl K', 'Find or create a room, find a person'],
	['Alt ↑, Alt ↓', 'The room above, below'],
	['↑ in an empty line', 'Go through the messages; Esc comes back'],
];

const TITLES = { people: 'Who is here', search: 'Search', files: 'Files', help: 'Help', you: 'You' };

export function panel(chat, ui) {
	const body = byId('panel-body');
	const buttons = [...document.querySelectorAll('[data-panel]')];
	let kind = null;
	let shown = null; // for which room it was filled
	let files = 0; // and with which of its files

	function open(which, words = '') {
		kind = which;
		shown = null;
		byId('panel').hidden = !kind;
		for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.panel === kind));
		if (!kind) return ui.focusInput();
		byId('panel-title').textContent = TITLES[kind];
		update(words);
		(body.querySelector('input') ?? byId('panel-close')).focus();
	}

	function update(words = '') {
		const room = chat.active;
		const hasLog = room && !room.isPrivate;
		byId('member-count').textContent = hasLog && room.hasMembers ? room.members.size.toLocaleString() : '';
		for (const button of buttons) button.hidden = !hasLog;
		if (!kind) return;
		if (!hasLog && kind !== 'help' && kind !== 'you') return open(null);
		if (kind === 'files' && files !== room?.files) shown = null; // one came, or was deleted
		if (shown !== room) {
			shown = room;
			files = room?.files;
			body.replaceChildren(...fill[kind](room, words));
			if (words) body.querySelector('form')?.requestSubmit();
		}
		if (kind === 'people') members(room);
	}

	function members(room) {
		const [topic, find, list, more] = body.children;
		setText(topic, room.topic);
		const nicks = [...room.members.values()].filter((nick) => nick.toLowerCase().includes(find.value.toLowerCase()));
		nicks.sort(new Intl.Collator(undefined, { numeric: true }).compare);
		sync(list, nicks.slice(0, MEMBERS_SHOWN).map((nick) => {
			const isMe = chat.isMe(nick);
			const build = () => el('li', {}, el('button', { disabled: isMe, onclick: () => ui.open(nick) },
				avatar(nick, '.small'), el('span.name', { dir: 'auto' }, nick), isMe && el('span.hint', {}, 'you')));
			return { key: nick, sign: String(isMe), build };
		}));
		const rest = nicks.length - MEMBERS_SHOWN;
		more.textContent = rest > 0 ? `and ${rest.toLocaleString()} more` : '';
	}

	const field = (label, props) => el('input', { type: 'search', placeholder: label, 'aria-label': label, ...props });

	function notifications() {
		const is = globalThis.isSecureContext && globalThis.Notification?.permission;
		if (is === 'granted') return el('p.small', {}, 'You are notified when somebody mentions you or sends you a direct message.');
		if (is !== 'default') return el('p.small', {}, globalThis.isSecureContext ? 'Your browser blocks notifications from this page.' : 'Notifications need HTTPS. Open this page with https:// in front.');
		const onclick = async () => {
			await Notification.requestPermission();
			button.replaceWith(notifications());
		};
		const button = el('button.plain', { onclick }, "Notify me when I'm mentioned");
		return button;
	}

	const fill = {
		people(room) {
			chat.who(room);
			return [el('p.topic', { dir: 'auto' }), field('Find somebody', { oninput: () => members(room) }), el('ul.people'), el('p.small')];
		},

		search(room, words) {
			const input = field('Words', { value: words });
			const about = el('p.small', { role: 'status' }, 'All the words, in any order.');
			const results = el('ol.results');
			const row = ({ id, nick, time, text, name }) => el('li', {}, el('button', { onclick: () => ui.show(room.name, id) },
				el('bdi.nick', { hue: nick }, nick), ' ', el('span.hint', {}, when.format(time)),
				el('span.text', { dir: 'auto' }, ...marked(text ?? name, input.value.trim().split(/\s+/)).map(([part, isWord]) => (isWord ? el('mark', {}, part) : part)))));
			const onsubmit = async (event) => {
				event.preventDefault();
				const found = input.value.trim() ? await chat.list(`SEARCH ${room.name} ${input.value.trim()}`) : [];
				about.textContent = found.length >= FOUND_MAX ? `The newest ${found.length}. There may be more: add a word.`
					: found.length ? `${found.length} found, the newest first` : 'No messages contain all these words.';
				results.replaceChildren(...found.map(row));
			};
			return [el('form', { onsubmit }, input), about, results];
		},

		files(room) {
			const list = el('ul');
			const about = el('p.small', { role: 'status' }, 'Fetching…');
			const row = (file) => el('li.file', {}, icon('clip'), el('div', {},
				el('a.name', { href: addressOf(file), download: file.name, dir: 'auto' }, file.name),
				el('span.size', {}, `${size(file.size)}, ${file.nick}, ${when.format(file.time)}`)));
			chat.list(`FILES ${room.name}`).then((found) => {
				about.textContent = found.length ? '' : 'No files yet. Drop one anywhere on this page to send it.';
				list.replaceChildren(...found.slice(0, FILES_SHOWN).map(row));
			});
			return [about, list];
		},

		you() {
			const name = el('input', { id: 'you-nick', value: chat.nick, maxLength: 32, spellcheck: false });
			const error = el('p.error', { role: 'alert' });
			const onsubmit = async (event) => {
				event.preventDefault();
				error.textContent = await chat.rename(name.value.trim());
				if (!error.textContent) ui.toast(`You are ${chat.nick} now.`);
			};
			return [
				el('form', { onsubmit }, el('label', { htmlFor: 'you-nick' }, 'Your name'),
					el('div.both', {}, name, el('button.primary', {}, 'Save')), error),
				el('h3', {}, 'Notifications'), notifications(),
				el('h3', {}, 'This name elsewhere'),
				el('p.small', {}, 'A password guards your name. Give it on another device, or in a terminal:'),
				el('details', {}, el('summary', {}, 'Show the password'), el('pre', {}, `NICK ${chat.nick} ${chat.password}`)),
				el('button.plain', { onclick: () => ui.command('register') }, 'Reserve this name permanently'),
				el('h3', {}, 'Leave'),
				el('button.plain', { onclick: () => ui.command('forget') }, 'Delete me from this browser'),
			];
		},

		help() {
			const list = (pairs, tag) => el('dl', {}, ...pairs.flatMap(([what, does]) => [el('dt', {}, el(tag, {}, what)), el('dd', {}, does)]));
			return [
				list(COMMANDS.map(({ name, args, does }) => [`/${name} ${args}`, does]), 'code'),
				el('h3', {}, 'Keys'), list(KEYS, 'kbd'),
				el('h3', {}, 'Without a browser'),
				el('pre', {}, `nc ${location.hostname} ${location.port || (location.protocol === 'https:' ? 443 : 80)}`),
			];
		},
	};

	for (const button of buttons) {
		button.addEventListener('click', () => open(kind === button.dataset.panel ? null : button.dataset.panel));
	}
	byId('panel-close').addEventListener('click', () => open(null));
	byId('panel').addEventListener('keydown', ({ key }) => key === 'Escape' && open(null));
	return { open, update };
}
