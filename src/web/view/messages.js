// The messages of the active room. The document holds the room's window (room.js), so it is bounded as that is; a
// frame draws whatever has come since the last one.

import { addressOf, isPicture } from '../files.js';
import { hue, initials, parts, size } from '../text.js';
import { byId, el, icon, setText, sync } from './dom.js';

/** Messages of one person within this time stand under one head. */
const GROUP_MS = 5 * 60_000;
/** So near an end of the window, in pixels, more is fetched. */
const NEAR = 800;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'full' });

const dayOf = (time) => new Date(time).setHours(0, 0, 0, 0);
const dayText = (day) => (day === dayOf(Date.now()) ? 'Today' : date.format(day));

export const addressIn = (room, id) =>
	`#${encodeURIComponent(room.isPrivate ? `@${room.name}` : room.name.slice(1))}${id ? `/${id}` : ''}`;

/** "ann, bob came in · carl left": of who comes and goes again and again, the last. */
function presenceText(events) {
	const last = new Map(events.map(({ verb, nick, to }) => [nick, { JOIN: 'came in', PART: 'left' }[verb] ?? `is now ${to}`]));
	const groups = new Map();
	for (const [nick, how] of last) groups.set(how, [...(groups.get(how) ?? []), nick]);
	const some = (nicks) => nicks.slice(0, 5).join(', ') + (nicks.length > 5 ? ` and ${nicks.length - 5} more` : '');
	return [...groups].map(([how, nicks]) => `${some(nicks)} ${how}`).join(' · ');
}

/** A picture in its own size, as far as the window has room. */
function showPicture(item) {
	const dialog = byId('picture');
	const close = () => dialog.close();
	dialog.onclick = close;
	dialog.replaceChildren(el('img', { src: addressOf(item), alt: item.name }), el('button.primary', { onclick: close }, 'Close'));
	dialog.showModal();
}

export class Messages {
	#chat;
	#ui;
	#log = byId('log');
	#list = byId('messages');
	#toEnd = byId('to-end');
	#room = null;
	#following = true;
	#target = null; // an id to be shown
	#tools = null;

	constructor(chat, ui) {
		this.#chat = chat;
		this.#ui = ui;
		this.#log.addEventListener('scroll', () => this.#scrolled(), { passive: true });
		this.#log.addEventListener('keydown', (event) => this.#key(event));
		this.#list.addEventListener('pointerover', ({ target }) => this.#offer(target.closest('.row')));
		this.#list.addEventListener('focusin', ({ target }) => this.#offer(target.closest('.row')));
		this.#toEnd.addEventListener('click', () => this.toEnd());
		new ResizeObserver(() => this.#following && this.#stick()).observe(this.#log);
	}

	get isFollowing() {
		return this.#following;
	}

	async toEnd() {
		const room = this.#room;
		await this.#chat.latest(room);
		this.#following = true;
		this.#stick();
		this.#ui.changed();
	}

	/** Brings a message before the eyes, fetching what is around it if need be. */
	async show(room, id) {
		if (!room.items.some((item) => item.id === id)) await this.#chat.around(room, id);
		if (!room.items.some((item) => item.id === id)) return this.#ui.toast('That message is not there any more.');
		this.#target = id;
		this.#following = false;
		this.#ui.changed();
	}

	update() {
		const room = this.#chat.active;
		const isOther = room !== this.#room;
		this.#room = room;
		if (!room) {
			sync(this.#list, [this.#nowhere()]);
			this.#toEnd.hidden = true;
			return;
		}
		const anchor = !isOther && !this.#following && this.#anchor();
		if (isOther) this.#list.dataset.room = room.name;
		sync(this.#list, this.#rows(room));
		if (isOther) this.#arrive(room);
		if (this.#target) this.#bring();
		else if (this.#following) this.#stick();
		else if (anchor) this.#log.scrollTop += anchor.row.offsetTop - anchor.at;
		this.#more();
		this.#button(room);
		if (this.#ui.isLooking(room)) this.#chat.seen();
	}

	/** One starts where one has left off reading, or at the end if all of that fits. */
	#arrive(room) {
		this.#following = true;
		this.#stick();
		const line = this.#list.querySelector('.new-line');
		if (!line) return;
		const above = line.offsetTop - this.#log.scrollTop;
		if (above >= 0) return;
		this.#following = false;
		this.#log.scrollTop = line.offsetTop - 60;
	}
	#stick() {
		this.#log.scrollTop = this.#log.scrollHeight;
	}

	/** The first row in sight, so that what is added above it moves nothing. */
	#anchor() {
		const top = this.#log.scrollTop;
		for (const row of this.#list.children) {
			if (row.offsetTop + row.offsetHeight > top && row.dataset.id) return { row, at: row.offsetTop };
		}
		return null;
	}

	#bring() {
		const row = this.#list.querySelector(`[data-id="${this.#target}"]`);
		this.#target = null;
		if (!row) return;
		this.#log.scrollTop = row.offsetTop - this.#log.clientHeight / 3;
		row.classList.add('found');
		row.addEventListener('animationend', () => row.classList.remove('found'), { once: true });
		row.focus({ preventScroll: true });
	}

	#scrolled() {
		const log = this.#log;
		const below = log.scrollHeight - log.clientHeight - log.scrollTop;
		const was = this.#following;
		this.#following = below < 40 && Boolean(this.#room?.atEnd);
		this.#more();
		if (was !== this.#following) this.#ui.changed();
	}

	/** Fetches what is soon to be scrolled to. */
	#more() {
		const room = this.#room;
		const log = this.#log;
		if (!room || room.loading || !room.joined) return;
		if (log.scrollTop < NEAR && !room.atStart) this.#chat.older(room);
		else if (!room.atEnd && log.scrollHeight - log.clientHeight - log.scrollTop < NEAR) this.#chat.newer(room);
	}

	/** Whoever reads above is told what is below. */
	#button(room) {
		const { scrollHeight, clientHeight, scrollTop } = this.#log;
		const { unread } = room;
		const isFar = !room.atEnd || scrollHeight - clientHeight - scrollTop > 300;
		this.#toEnd.hidden = this.#following || !(isFar || unread);
		setText(this.#toEnd.lastChild, unread ? `${unread.toLocaleString()} new` : 'To the newest');
	}

	// ---- rows

	#nowhere() {
		const build = () => el('div.start', {}, el('h2', {}, 'You are in no room'),
			el('button.plain', { onclick: () => this.#ui.find() }, 'Find or make one'));
		return { key: 'nowhere', build };
	}

	#rows(room) {
		const rows = [];
		if (room.atStart) rows.push({ key: 'start', sign: room.name, build: () => this.#start(room) });
		else rows.push({ key: 'older', build: () => el('div.loading', {}, 'Fetching what was said before…') });
		let last = null;
		let day = null;
		let isNew = false;
		let isFenced = false;
		for (const item of room.items) {
			const today = item.time ? dayOf(item.time) : day;
			if (today !== day) {
				day = today;
				last = null;
				const text = dayText(day);
				rows.push({ key: `d${day}`, sign: text, build: () => this.#line('date', text) });
			}
			if (!isNew && room.newAfter !== null && item.id > room.newAfter && !this.#chat.isMe(item.nick)) {
				isNew = true;
				last = null;
				rows.push({ key: 'new', build: () => this.#line('new-line', 'New') });
			}
			const isTalk = item.verb === 'MSG' || item.verb === 'FILE';
			const isHead = isTalk && !(last && last.nick === item.nick && item.time - last.time < GROUP_MS);
			if (isHead || !isTalk) isFenced = false;
			const isFence = item.verb === 'MSG' && item.text.startsWith('```');
			const isCode = isFenced || isFence;
			if (isFence) isFenced = !isFenced;
			const isGone = room.isRemoved(item);
			const length = item.verb === 'FILE' ? (room.stored.get(item.file) ?? item.size) : '';
			const sign = `${isHead}${isGone}${isCode}${length}${item.verb === 'PRESENCE' ? item.events.length + item.events.at(-1).time : ''}`;
			rows.push({ key: item.key, sign, build: () => this.#row(room, item, { isHead, isGone, isCode, isFence, length }) });
			last = isTalk ? item : null;
		}
		if (!room.atEnd) {
			rows.push({ key: 'newer', build: () => el('div.loading', {}, 'Fetching what was said after…') });
			return rows;
		}
		for (const entry of this.#chat.outbox.of(room.name)) {
			const isHead = !(last && this.#chat.isMe(last.nick) && entry.time - last.time < GROUP_MS);
			rows.push({ key: entry.key, sign: entry.state + isHead, build: () => this.#waiting(entry, isHead) });
			last = { nick: this.#chat.nick, time: entry.time };
		}
		return rows;
	}

	#line(kind, text) {
		return el(`div.line.${kind}`, { role: 'separator', 'aria-label': text }, el('span', {}, text));
	}

	#start({ name, isPrivate }) {
		return el('div.start', {}, el('h2', {}, isPrivate ? `You and ${name}` : `This is where ${name} begins`),
			el('p', {}, isPrivate
				? 'What you say here goes to this person alone. The server does not keep it; this tab does, until it is closed.'
				: 'Say something, or drop a file here. Whoever comes later can read it. To invite somebody, send the address of this page.'));
	}

	#row(room, item, how) {
		switch (item.verb) {
			case 'PRESENCE':
				return el('div.quiet', {}, presenceText(item.events));
			case 'TOPIC': {
				const text = item.text ? [' set what this room is about: ', el('em', { dir: 'auto' }, item.text)] : [' cleared what this room is about'];
				return this.#frame(item, 'div.row.quiet', false, el('div.what', {}, el('bdi', {}, item.nick), ...text));
			}
			case 'GAP':
			case 'NOTE':
			case 'SAYS':
				return el('div.quiet.notice', {}, item.text);
			default:
		}
		const isCall = !this.#chat.isMe(item.nick) && item.verb !== 'FILE' && this.#text(item.text).some(({ type }) => type === 'me');
		const classes = `div.row.says-${item.verb.toLowerCase()}${how.isHead ? '.head' : ''}${isCall ? '.call' : ''}${how.isCode ? '.code' : ''}${how.isFence ? '.fence' : ''}`;
		let body;
		if (how.isGone) body = el('div.text.gone', {}, 'taken back');
		else if (item.verb === 'FILE') body = this.#file({ ...item, size: how.length });
		else if (item.verb === 'ME') body = el('div.text', { dir: 'auto' }, this.#nick(item.nick), ' ', ...this.#inline(item.text));
		else body = el('div.text', { dir: 'auto' }, ...(how.isCode ? [item.text] : this.#inline(item.text)));
		const by = how.isHead && el('div.by', {}, this.#nick(item.nick), this.#time(item, 'time.at'));
		return this.#frame(item, classes, how.isHead, by, body);
	}

	/** A row of somebody, with its place in the room's addresses. */
	#frame(item, tag, isHead, ...children) {
		const row = el(tag, { tabIndex: -1, role: 'article', 'data-id': item.id ?? '' },
			isHead ? this.#avatar(item.nick) : this.#time(item, 'time.beside'), ...children);
		row.item = item;
		return row;
	}

	#avatar(nick) {
		return el('span.avatar', { 'data-hue': hue(nick), 'aria-hidden': 'true' }, initials(nick));
	}

	#time(item, tag) {
		return el(tag, { dateTime: new Date(item.time).toISOString(), title: whole.format(item.time) }, clock.format(item.time));
	}

	#nick(nick) {
		return el('button.nick', {
			'data-hue': hue(nick),
			tabIndex: -1,
			dir: 'auto',
			title: this.#chat.isMe(nick) ? 'You' : `Talk to ${nick} alone`,
			onclick: () => !this.#chat.isMe(nick) && this.#ui.open(nick),
		}, nick);
	}

	#text(text) {
		return parts(text, {
			me: this.#chat.nick,
			isNick: (nick) => this.#room.members.has(nick.toLowerCase()),
			isRoom: (name) => Boolean(this.#chat.room(name)),
		});
	}

	#inline(text) {
		return this.#text(text).map(({ type, text }) => {
			switch (type) {
				case 'link':
					return el('a', { href: text, target: '_blank', rel: 'noopener noreferrer' }, text);
				case 'code':
					return el('code', {}, text.slice(1, -1));
				case 'me':
					return el('mark', {}, text);
				case 'nick':
					return el('span.nick-in', { 'data-hue': hue(text.slice(1)) }, text);
				case 'room':
					return el('a', { href: `#${encodeURIComponent(text.slice(1))}` }, text);
				default:
					return text;
			}
		});
	}

	#file(item) {
		const href = addressOf(item);
		const name = el('a.name', { href, download: item.name, dir: 'auto' }, item.name);
		const about = el('span.size', {}, size(item.size));
		const plain = () => el('div.file', {}, icon('clip'), el('div', {}, name, about));
		if (!isPicture(item.name, item.size)) return plain();
		const figure = el('figure', {},
			el('button.thumb', { 'aria-label': `Show ${item.name}`, onclick: () => showPicture(item) },
				el('img', { src: href, alt: item.name, loading: 'lazy', decoding: 'async', onerror: () => figure.replaceWith(plain()) })),
			el('figcaption', {}, name, ' ', about));
		return figure;
	}

	#waiting(entry, isHead) {
		const { nick } = this.#chat;
		const isFailed = entry.state === 'failed';
		return el(`div.row.waiting${isHead ? '.head' : ''}${isFailed ? '.failed' : ''}`, { tabIndex: -1, role: 'article' },
			isHead ? this.#avatar(nick) : el('span.beside'),
			isHead && el('div.by', {}, this.#nick(nick)),
			el('div.text', { dir: 'auto' }, entry.verb === 'ME' ? `${nick} ${entry.text}` : entry.text),
			isFailed
				? el('div.how', {}, `${entry.error} `,
					el('button.plain', { onclick: () => this.#chat.retry(entry) }, 'Say it again'),
					el('button.plain', { onclick: () => this.#chat.discard(entry) }, 'Discard'))
				: el('span.hidden', {}, 'not sent yet'));
	}

	// ---- keys and tools

	#key(event) {
		const { key, target, ctrlKey, metaKey, altKey } = event;
		if (ctrlKey || metaKey || altKey) return;
		const rows = [...this.#list.querySelectorAll('.row')];
		const row = target.closest('.row');
		const at = row ? rows.indexOf(row) : rows.length;
		if (key === 'ArrowUp') rows[Math.max(0, at - 1)]?.focus();
		else if (key === 'ArrowDown' && at + 1 < rows.length) rows[at + 1].focus();
		else if (key === 'Escape' || key === 'ArrowDown') this.#ui.focusInput();
		else if (key === 'End') this.toEnd();
		else if (key === 'Delete' && row) row.querySelector('.remove')?.click();
		else return;
		event.preventDefault();
	}

	focusLast() {
		[...this.#list.querySelectorAll('.row')].at(-1)?.focus();
	}

	/** What can be done with a message stands beside it while one points at it or is on it. */
	#offer(row) {
		if (!row?.item?.id || row.contains(this.#tools) || row.item.verb === 'TOPIC') return;
		this.#tools?.remove();
		const { item } = row;
		const room = this.#room;
		const isMine = this.#chat.isMe(item.nick);
		const button = (name, label, act, kind = '') => el(`button.tool${kind}`, { 'aria-label': label, title: label, onclick: act }, icon(name));
		this.#tools = el('div.row-tools', { role: 'group', 'aria-label': 'This message' },
			!isMine && button('reply', `Answer ${item.nick}`, () => this.#ui.mention(item.nick)),
			button('link', 'Copy its address', () => this.#ui.copy(`${location.origin}/${addressIn(room, item.id)}`)),
			isMine && !room.isRemoved(item) && button('bin', 'Take it back', () => confirm('Take it back for everybody?') && this.#chat.remove(room, item.id), '.remove'));
		row.append(this.#tools);
	}
}
