// What stands beside the messages: who is here, what was searched, the room's files, oneself, help.

import { COMMANDS } from '../commands.js';
import { addressOf } from '../files.js';
import { hue, initials, size } from '../text.js';
import { byId, el, icon, sync } from './dom.js';

/** Members that are drawn; more are found by typing. */
const MEMBERS_SHOWN = 200;

const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

const KEYS = [
	['Enter, Shift Enter', 'Send; a new line'],
	['Tab', 'Complete a name, a room, a command'],
	['Ctrl K', 'Find or make a room, find a person'],
	['Alt ↑, Alt ↓', 'The room above, below'],
	['↑ in an empty line', 'Go through the messages; Esc comes back'],
];

const TITLES = { people: 'Who is here', search: 'Search', files: 'Files', help: 'Help', you: 'You' };

export class Panel {
	#chat;
	#ui;
	#kind = null;
	#shown = null; // for which room it was filled
	#body = byId('panel-body');
	#buttons = [...document.querySelectorAll('[data-panel]')];

	constructor(chat, ui) {
		this.#chat = chat;
		this.#ui = ui;
		for (const button of this.#buttons) {
			button.addEventListener('click', () => this.open(this.#kind === button.dataset.panel ? null : button.dataset.panel));
		}
		byId('panel-close').addEventListener('click', () => this.open(null));
		byId('panel').addEventListener('keydown', ({ key }) => key === 'Escape' && this.open(null));
	}

	open(kind, words = '') {
		this.#kind = kind;
		this.#shown = null;
		byId('panel').hidden = !kind;
		for (const button of this.#buttons) button.setAttribute('aria-pressed', String(button.dataset.panel === kind));
		if (!kind) return this.#ui.focusInput();
		byId('panel-title').textContent = TITLES[kind];
		this.update(words);
		(this.#body.querySelector('input') ?? byId('panel-close')).focus();
	}

	update(words = '') {
		const room = this.#chat.active;
		const hasLog = room && !room.isPrivate;
		byId('member-count').textContent = hasLog && room.hasMembers ? room.members.size.toLocaleString() : '';
		for (const button of this.#buttons) button.hidden = !hasLog;
		const kind = this.#kind;
		if (!kind) return;
		if (!hasLog && kind !== 'help' && kind !== 'you') return this.open(null);
		if (this.#shown !== room) {
			this.#shown = room;
			this.#body.replaceChildren(...this[kind](room, words));
			if (words) this.#body.querySelector('form')?.requestSubmit();
		}
		if (kind === 'people') this.#members(room);
	}

	people(room) {
		this.#chat.who(room);
		const find = el('input', { type: 'search', placeholder: 'Find somebody', 'aria-label': 'Find somebody', oninput: () => this.#members(room) });
		return [find, el('ul.people'), el('p.small')];
	}

	#members(room) {
		const [find, list, more] = this.#body.children;
		const nicks = [...room.members.values()].filter((nick) => nick.toLowerCase().includes(find.value.toLowerCase()));
		nicks.sort((a, b) => a.localeCompare(b));
		sync(list, nicks.slice(0, MEMBERS_SHOWN).map((nick) => {
			const isMe = this.#chat.isMe(nick);
			return { key: nick, sign: String(isMe), build: () => el('li', {}, el('button', { disabled: isMe, onclick: () => this.#ui.open(nick) },
				el('span.avatar.small', { 'data-hue': hue(nick), 'aria-hidden': 'true' }, initials(nick)),
				el('span.name', { dir: 'auto' }, nick), isMe && el('span.hint', {}, 'you'))) };
		}));
		more.textContent = nicks.length > MEMBERS_SHOWN ? `and ${(nicks.length - MEMBERS_SHOWN).toLocaleString()} more` : '';
	}

	search(room, words) {
		const input = el('input', { type: 'search', value: words, placeholder: `Words said in ${room.name}`, 'aria-label': 'Words' });
		const about = el('p.small', { role: 'status' }, 'All the words, in any order.');
		const results = el('ol.results');
		const find = async (event) => {
			event.preventDefault();
			const text = input.value.trim();
			const found = text ? await this.#chat.list(`SEARCH ${room.name} ${text}`) : [];
			about.textContent = found.length ? `${found.length} found, the newest first` : 'Nothing was said with all these words.';
			results.replaceChildren(...found.map((event) => el('li', {}, el('button', { onclick: () => this.#ui.show(room.name, event.id) },
				el('bdi.nick', { 'data-hue': hue(event.nick) }, event.nick), ` `, el('span.hint', {}, when.format(event.time)),
				el('span.text', { dir: 'auto' }, event.text ?? event.name)))));
		};
		return [el('form', { onsubmit: find }, input), about, results];
	}

	files(room) {
		const list = el('ul.files');
		const about = el('p.small', { role: 'status' }, 'Fetching…');
		this.#chat.list(`FILES ${room.name}`).then((found) => {
			about.textContent = found.length ? '' : 'No files yet. Drop one anywhere on this page to send it.';
			list.replaceChildren(...found.slice(0, 500).map((file) => el('li.file', {}, icon('clip'), el('div', {},
				el('a.name', { href: addressOf(file), download: file.name, dir: 'auto' }, file.name),
				el('span.size', {}, `${size(file.size)}, ${file.nick}, ${when.format(file.time)}`)))));
		});
		return [about, list];
	}

	you() {
		const chat = this.#chat;
		const name = el('input', { id: 'you-nick', value: chat.nick, maxLength: 32, spellcheck: false });
		const error = el('p.error', { role: 'alert' });
		const save = async (event) => {
			event.preventDefault();
			error.textContent = await chat.rename(name.value.trim());
			if (!error.textContent) this.#ui.toast(`You are ${chat.nick} now.`);
		};
		return [
			el('form', { onsubmit: save }, el('label', { htmlFor: 'you-nick' }, 'Your name'), el('div.both', {}, name, el('button.primary', {}, 'Save')), error),
			el('h3', {}, 'Notifications'), this.#notifications(),
			el('h3', {}, 'This name elsewhere'),
			el('p.small', {}, 'A password guards your name. Give it on another device, or in a terminal:'),
			el('details', {}, el('summary', {}, 'Show the password'), el('pre', {}, `NICK ${chat.nick} ${chat.password}`)),
			el('h3', {}, 'Leave'),
			el('button.plain', { onclick: () => this.#ui.command('forget') }, 'Leave, and forget me in this browser'),
		];
	}

	#notifications() {
		const is = globalThis.isSecureContext && globalThis.Notification?.permission;
		if (is === 'granted') return el('p.small', {}, 'You are told when somebody names you or writes to you alone.');
		if (is !== 'default') return el('p.small', {}, 'Your browser does not allow them for this page.');
		const button = el('button.plain', {
			onclick: async () => {
				await Notification.requestPermission();
				button.replaceWith(this.#notifications());
			},
		}, 'Tell me when I am named');
		return button;
	}

	help() {
		const list = (pairs, tag) => el('dl', {}, ...pairs.flatMap(([what, does]) => [el('dt', {}, el(tag, {}, what)), el('dd', {}, does)]));
		return [
			list(COMMANDS.map(({ name, args, does }) => [`/${name} ${args}`.trim(), does]), 'code'),
			el('h3', {}, 'Keys'), list(KEYS, 'kbd'),
			el('h3', {}, 'Without a browser'),
			el('pre', {}, `nc ${location.hostname} ${location.port || (location.protocol === 'https:' ? 443 : 80)}`),
		];
	}
}
