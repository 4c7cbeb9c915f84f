// Rooms and people at the side, with what is unread, and a field that finds others; who one is; the page's title.

import { hue, initials } from '../text.js';
import { fold } from '../wire.js';
import { byId, el, icon, setText, sync } from './dom.js';
import { addressIn } from './messages.js';

const FOUND_MAX = 40;

const countText = (count) => (count > 99 ? '99+' : String(count));
const sum = (rooms, what) => rooms.reduce((total, room) => total + room[what], 0);

export class Sidebar {
	#chat;
	#ui;
	#find = byId('find');

	constructor(chat, ui) {
		this.#chat = chat;
		this.#ui = ui;
		const find = this.#find;
		find.addEventListener('focus', () => chat.listRooms());
		find.addEventListener('input', () => ui.changed());
		find.addEventListener('keydown', ({ key }) => {
			if (key === 'Enter') byId('side').querySelector('li a')?.click();
			else if (key === 'Escape') {
				this.#clear();
				ui.focusInput();
			}
		});
		byId('side').addEventListener('click', ({ target }) => target.closest('a') && this.#clear());
		byId('side').addEventListener('keydown', (event) => {
			const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
			if (!step || event.altKey) return;
			const stops = [find, ...byId('side').querySelectorAll('li a')];
			stops[stops.indexOf(event.target) + step]?.focus();
			event.preventDefault();
		});
		byId('me').addEventListener('click', () => ui.panel('you'));
		byId('menu').addEventListener('click', () => this.toggle());
		byId('shade').addEventListener('click', () => this.toggle(false));
	}

	/** On a phone the side comes in over the messages. */
	toggle(isOpen = !document.body.classList.contains('side-open')) {
		document.body.classList.toggle('side-open', isOpen);
		byId('menu').setAttribute('aria-expanded', String(isOpen));
		byId('shade').hidden = !isOpen;
	}

	find() {
		this.toggle(true);
		this.#find.focus();
	}

	#clear() {
		this.#find.value = '';
		this.toggle(false);
		this.#ui.changed();
	}

	update() {
		const chat = this.#chat;
		setText(byId('server'), chat.server || 'plainchat');
		const text = this.#find.value.trim();
		const fits = (name) => fold(name).includes(fold(text));
		const mine = chat.all.filter(({ name }) => fits(name));
		sync(byId('rooms'), [
			...mine.filter((room) => !room.isPrivate).map((room) => this.#joined(room)),
			...(text ? this.#others(text, fits) : []),
		]);
		const people = [...mine.filter((room) => room.isPrivate).map((room) => this.#joined(room)), ...(text ? this.#people(fits) : [])];
		sync(byId('people'), people);
		byId('people-title').hidden = !people.length;
		const me = byId('me');
		if (me.dataset.nick !== chat.nick) {
			me.dataset.nick = chat.nick;
			me.ariaLabel = `${chat.nick}, you`;
			me.replaceChildren(this.#avatar(chat.nick), el('span.name', {}, chat.nick));
		}
		me.dataset.state = chat.connection.state;
		this.#title();
	}

	#avatar(nick) {
		return el('span.avatar.small', { 'data-hue': hue(nick), 'aria-hidden': 'true' }, initials(nick));
	}

	#joined(room) {
		const { name, unread, mentions } = room;
		const isHere = room === this.#chat.active;
		const badge = () => el(`span.badge${mentions ? '.call' : ''}`,
			{ title: mentions ? 'for you' : 'unread' }, countText(mentions || unread));
		const leave = () => el('button.tool.leave', { 'aria-label': `Leave ${name}`, onclick: () => this.#chat.leave(room) }, icon('close'));
		return this.#row(name, `${isHere}|${unread}|${mentions}`, () => [
			this.#link(name, addressIn(room), unread ? '.unread' : '', isHere, unread > 0 && badge()), leave()]);
	}

	#row(name, sign, build) {
		return { key: fold(name), sign: name + sign, build: () => el('li', {}, ...build()) };
	}

	#link(name, href, kind, isHere, ...more) {
		const isRoom = name.startsWith('#');
		return el(`a${kind}`, { href, 'aria-current': isHere && 'page' },
			isRoom ? el('span.sign', { 'aria-hidden': 'true' }, '#') : this.#avatar(name),
			el('span.name', { dir: 'auto' }, isRoom ? name.slice(1) : name), ...more);
	}

	/** Rooms of the server that one is not in, and the one that could be made. */
	#others(text, fits) {
		const names = this.#chat.directory.filter(({ room }) => fits(room) && !this.#chat.room(room)).slice(0, FOUND_MAX);
		const rows = names.map(({ room, members }) => this.#row(room, members, () => [
			this.#link(room, addressIn({ name: room }), '', false, el('span.hint', {}, `${members} here`))]));
		const made = `#${text.replace(/^#/, '').replace(/\s+/g, '-')}`;
		if (this.#chat.room(made) || names.some(({ room }) => fold(room) === fold(made))) return rows;
		return [...rows, this.#row(made, '', () => [this.#link(made, addressIn({ name: made }), '', false, el('span.hint', {}, 'new room'))])];
	}

	#people(fits) {
		const nicks = new Map(this.#chat.all.flatMap((room) => [...room.members]));
		const found = [...nicks.values()].filter((nick) => fits(nick) && !this.#chat.isMe(nick) && !this.#chat.room(nick));
		return found.slice(0, FOUND_MAX).map((nick) => this.#row(nick, '', () => [this.#link(nick, addressIn({ name: nick, isPrivate: true }), '', false)]));
	}

	#title() {
		const { all, active } = this.#chat;
		const calls = sum(all, 'mentions');
		const mark = calls ? `(${calls}) ` : sum(all, 'unread') ? '• ' : '';
		const title = `${mark}${active ? `${active.name} – ` : ''}plainchat`;
		if (document.title !== title) document.title = title;
		const others = all.filter((room) => room !== active);
		const badge = byId('menu').querySelector('.badge');
		const waiting = sum(others, 'unread');
		badge.hidden = !waiting;
		badge.classList.toggle('call', sum(others, 'mentions') > 0);
		setText(badge, countText(waiting));
	}
}
