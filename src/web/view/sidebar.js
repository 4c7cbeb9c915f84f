// The sidebar: rooms and conversations with their unread counts, a search field, and the user's name. Also sets the
// page's title and icon.

import { fold, isRoom } from '../wire.js';
import { avatar, byId, el, icon, setText, sync } from './dom.js';
import { addressIn } from './row.js';

const FOUND_MAX = 40;

const countText = (count) => (count > 99 ? '99+' : String(count));
const sum = (rooms, what) => rooms.reduce((total, room) => total + room[what], 0);

/** Returns the address of the page's icon with a dot. */
function dotted(color) {
	const dot = `<circle cx="24" cy="8" r="7" fill="${color}" stroke="#fff" stroke-width="2"/>`;
	const mark = new XMLSerializer().serializeToString(byId('i-mark')).replaceAll('symbol', 'svg');
	const svg = mark.replace('currentColor', '#0b6e63').replace('class="mark-line"', 'stroke="#fff"').replace('</svg>', `${dot}</svg>`);
	return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

export function sidebar(chat, ui) {
	const side = byId('side');
	const find = byId('find');
	const me = byId('me');
	const unseen = byId('unseen');
	let isFinding = false;
	let shown = null;
	let shownCalls = 0;
	let shownDot = '';
	const tabIcon = document.querySelector('link[rel="icon"]');
	const plainIcon = tabIcon.href;

	/** Opens or closes the sidebar, which covers the messages on a phone. */
	function toggle(isOpen = !document.body.classList.contains('side-open')) {
		document.body.classList.toggle('side-open', isOpen);
		byId('menu').setAttribute('aria-expanded', String(isOpen));
		byId('shade').hidden = !isOpen;
	}

	function clear() {
		isFinding = false;
		find.value = '';
		toggle(false);
		ui.changed();
	}

	function link(name, { kind = '', isHere = false, isClosed = false, more } = {}) {
		const sign = isClosed ? icon('lock') : '#';
		const mark = isRoom(name) ? el('span.sign', { 'aria-hidden': 'true' }, sign) : avatar(name, '.small');
		return el(`a${kind}`, { href: addressIn(name), 'aria-current': isHere && 'page' },
			mark, el('span.name', { dir: 'auto' }, name.replace('#', '')), isClosed && el('span.hidden', {}, ' (invite-only)'), more);
	}

	const hinted = (name, hint) =>
		({ key: fold(name), sign: name + hint, build: () => el('li', {}, link(name, { more: el('span.hint', {}, hint) })) });

	function joined(room) {
		const { name, unread, mentions, isClosed } = room;
		const isHere = room === chat.active;
		const build = () => {
			const title = mentions ? 'Mentions you' : 'Unread';
			const more = unread > 0 && el(`span.badge${mentions ? '.call' : ''}`, { title }, countText(mentions || unread));
			return el('li', {}, link(name, { kind: unread ? '.unread' : '', isHere, isClosed, more }),
				el('button.tool.leave', { 'aria-label': `Leave ${name}`, title: 'Leave', onclick: () => chat.leave(room) }, icon('close')));
		};
		return { key: fold(name), sign: [name, isHere, unread, mentions, isClosed].join(), build };
	}

	/** Returns rows for rooms that the user has not joined, and for a new room. */
	function others(text, fits) {
		const found = chat.directory.filter(({ room }) => fits(room) && !chat.room(room));
		found.sort((a, b) => b.members - a.members);
		const rows = found.slice(0, FOUND_MAX).map(({ room, members }) => hinted(room, `${members} here`));
		const made = `#${text.replace('#', '').replace(/\s+/g, '-')}`;
		if (text && !chat.room(made) && !rows.some(({ key }) => key === fold(made))) rows.push(hinted(made, 'new room'));
		return rows;
	}

	function otherUsers(fits) {
		const nicks = new Map(chat.all.flatMap((room) => [...room.members]));
		const found = [...nicks.values()].filter((nick) => fits(nick) && !chat.isMe(nick) && !chat.room(nick));
		return found.slice(0, FOUND_MAX).map((nick) => hinted(nick, ''));
	}

	function update() {
		setText(byId('server'), chat.server || 'plainchat');
		const text = find.value.trim();
		const fits = (name) => fold(name).includes(fold(text));
		const mine = chat.all.filter(({ name }) => fits(name));
		const people = mine.filter((room) => room.isPrivate).map(joined);
		sync(byId('rooms'), [...mine.filter((room) => !room.isPrivate).map(joined), ...(text || isFinding ? others(text, fits) : [])]);
		if (text) people.push(...otherUsers(fits));
		sync(byId('people'), people);
		byId('people-title').hidden = !people.length;
		if (me.dataset.nick !== chat.nick) {
			me.dataset.nick = chat.nick;
			me.ariaLabel = `${chat.nick}, you`;
			me.replaceChildren(avatar(chat.nick, '.small'), el('span.name', {}, chat.nick));
		}
		me.dataset.state = chat.connection.state;
		if (shown !== chat.active) {
			shown = chat.active;
			side.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
		}
		hint();
		title();
	}

	/** Shows that there is an unread mention or direct message which is scrolled out of view. */
	function hint() {
		const { top } = side.getBoundingClientRect();
		const { top: bottom } = me.getBoundingClientRect(); // the user's name covers the end of the list
		const isOut = (badge) => badge.getBoundingClientRect().top < top || badge.getBoundingClientRect().bottom > bottom;
		const first = [...side.querySelectorAll('li .badge.call')].find(isOut);
		unseen.hidden = !first;
		if (first) setText(unseen, `Unread: ${first.closest('a').querySelector('.name').textContent}`);
		unseen.onclick = () => first.scrollIntoView({ block: 'center' });
	}

	function title() {
		const { all, active } = chat;
		const calls = sum(all, 'mentions');
		const unread = sum(all, 'unread');
		const mark = calls ? `(${calls}) ` : unread ? '• ' : '';
		const text = `${mark}${active ? `${active.name} – ` : ''}plainchat`;
		if (document.title !== text) document.title = text;
		if (shownCalls !== calls) navigator.setAppBadge?.((shownCalls = calls))?.catch(() => {}); // the icon of an installed page
		const dot = calls ? '#d22' : unread ? '#777' : '';
		if (shownDot !== dot) tabIcon.href = (shownDot = dot) ? dotted(dot) : plainIcon;
		const others = all.filter((room) => room !== active);
		const badge = byId('menu').querySelector('.badge');
		badge.hidden = !sum(others, 'unread');
		badge.classList.toggle('call', sum(others, 'mentions') > 0);
		setText(badge, countText(sum(others, 'unread')));
	}

	find.addEventListener('focus', () => {
		isFinding = true;
		chat.listRooms();
	});
	document.addEventListener('focusin', ({ target }) => {
		if (!isFinding || side.contains(target)) return;
		isFinding = false;
		ui.changed();
	});
	find.addEventListener('input', ui.changed);
	side.addEventListener('scroll', hint, { passive: true });
	side.addEventListener('click', ({ target }) => target.closest('a') && clear());
	side.addEventListener('keydown', (event) => {
		const { key, target, altKey } = event;
		const step = { ArrowDown: 1, ArrowUp: -1 }[key];
		const stops = [find, ...side.querySelectorAll('li a')];
		if (step && !altKey) stops[stops.indexOf(target) + step]?.focus();
		else if (key === 'Enter' && target === find) {
			update(); // the list may not show the last letter yet
			side.querySelector('li a')?.click();
		} else if (key === 'Escape') {
			clear();
			ui.focusInput();
		} else return;
		event.preventDefault();
	});
	me.addEventListener('click', () => ui.panel('you'));
	byId('menu').addEventListener('click', () => toggle());
	byId('shade').addEventListener('click', () => toggle(false));

	return {
		update,
		toggle,
		find() {
			toggle(true);
			find.focus();
		},
	};
}
