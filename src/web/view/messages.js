// The messages of the active room. The document holds the room's window (room.js), so it is bounded as that is. Each
// frame draws what has arrived since the last one.

import { addressOf, isPicture } from '../files.js';
import { fences, parts, size } from '../text.js';
import { fold, isRoom } from '../wire.js';
import { avatar, byId, el, icon, setText, sync } from './dom.js';

/** Messages of one user within this time have one head, with the name and the time. */
const GROUP_MS = 5 * 60_000;
/** The distance to an end of the window, in pixels, at which more is loaded. */
const NEAR = 800;
/** Rows that are drawn while the user is at the end, or as many as fill twice the height of the log. */
const ROWS = 100;
const ROW_PX = 24;

/** In a long series of one user's messages the head is repeated after so many ids. */
const HEAD_IDS = 20;

const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
/** Formats a time without AM and PM, for the narrow column beside a message. */
const short = (time) => clock.formatToParts(time).filter(({ type }) => type !== 'dayPeriod').map(({ value }) => value).join('').trim();
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'full' });

const dayOf = (time) => new Date(time).setHours(0, 0, 0, 0);
const dayText = (day) => (day === dayOf(Date.now()) ? 'Today' : date.format(day));

/** `#lobby`, `#lobby/1234`, `#@bob` */
export const addressIn = (name, id) =>
	`#${encodeURIComponent(isRoom(name) ? name.slice(1) : `@${name}`)}${id ? `/${id}` : ''}`;

/** Returns "ann, bob joined · carl left", with the last event of each user. */
function presenceText(events) {
	const last = new Map(events.map(({ verb, nick, to }) => [nick, { JOIN: 'joined', PART: 'left' }[verb] ?? `is now ${to}`]));
	const groups = new Map();
	for (const [nick, how] of last) groups.set(how, [...(groups.get(how) ?? []), nick]);
	const some = (nicks) => nicks.slice(0, 5).join(', ') + (nicks.length > 5 ? ` and ${nicks.length - 5} more` : '');
	return [...groups].map(([how, nicks]) => `${some(nicks)} ${how}`).join(' · ');
}

const loading = (key) => ({ key, build: () => el('div.loading', {}, 'Loading…') });
const line = (kind, text) => el(`div.line.${kind}`, { role: 'separator', 'aria-label': text }, el('span', {}, text));

function time({ time }, kind) {
	return el(`time.${kind}`, { dateTime: new Date(time).toISOString(), title: whole.format(time) }, kind === 'beside' ? short(time) : clock.format(time));
}

/** Creates the row of an item, with its id for links. */
function frame(item, tag, isHead, ...children) {
	const side = isHead ? avatar(item.nick) : item.time && time(item, 'beside');
	const row = el(tag, { tabIndex: -1, role: 'article', 'data-id': item.id ?? '' }, side, ...children);
	row.item = item;
	return row;
}

/** Creates what is above the first message of a room or conversation. */
function start({ name, isPrivate, topic }, ui) {
	const act = (name, onclick, text) => el('button.plain', { onclick }, icon(name), text);
	return el('div.start', {}, el('h2', {}, isPrivate ? `You and ${name}` : `This is where ${name} begins`),
		el('p', {}, isPrivate
			? 'These messages disappear when you close the tab, unless both of you have registered.'
			: 'Write a message, or drop a file here. People who join later can read it.'),
		!isPrivate && el('div.acts', {},
			act('link', () => ui.copy(`${location.origin}/${addressIn(name)}`), 'Copy invite link'),
			!topic && act('reply', () => ui.editTopic(), 'Add a topic'),
			act('plus', () => ui.command('upload'), 'Send a file')));
}

function file(item) {
	const href = addressOf(item);
	const name = el('a.name', { href, download: item.name, dir: 'auto' }, item.name);
	const about = el('span.size', {}, size(item.size));
	const plain = () => el('div.file', {}, icon('clip'), el('div', {}, name, about));
	if (!isPicture(item.name, item.size)) return plain();
	const onerror = () => figure.replaceWith(plain());
	const figure = el('figure', {},
		el('a.thumb', { href, target: '_blank', 'aria-label': `Show ${item.name}` }, el('img', { src: href, alt: '', loading: 'lazy', onerror })),
		el('figcaption', {}, name, ' ', about));
	return figure;
}

export function messages(chat, ui) {
	const log = byId('log');
	const list = byId('messages');
	const toEndButton = byId('to-end');
	let room = null;
	let isFollowing = true;
	let target = null; // an id to show
	let tools = null;
	let height = 0;

	const below = () => log.scrollHeight - log.clientHeight - log.scrollTop;
	const stick = () => (log.scrollTop = log.scrollHeight);

	async function toEnd() {
		await chat.latest(room);
		isFollowing = true;
		stick();
		ui.changed();
	}

	/** Scrolls to a message, loading those around it if necessary. */
	async function show(inRoom, id) {
		const has = () => inRoom.items.some((item) => item.id === id);
		if (!has()) await chat.around(inRoom, id);
		if (!has()) return ui.toast(`Message ${id} is not in ${inRoom.name}. It was deleted, or belongs to another room.`);
		target = id;
		isFollowing = false;
		ui.changed();
	}

	function update() {
		const isOther = room !== chat.active;
		const anchor = !isOther && !isFollowing && firstInSight();
		room = chat.active;
		sync(list, room ? rows() : [nowhere]);
		if (isOther) arrive();
		if (target) bring();
		else if (isFollowing) stick();
		else if (anchor) log.scrollTop += (list.rows.get(anchor.key)?.element.offsetTop ?? anchor.at) - anchor.at;
		more();
		// The user reads further up: a button shows how many messages are new.
		const unread = room?.unread;
		toEndButton.hidden = isFollowing || !(unread || !room?.atEnd || below() > 300);
		setText(toEndButton.lastChild, unread ? `${unread.toLocaleString()} new` : 'To the newest');
		if (ui.isLooking(room)) chat.seen();
	}

	/** Shows the first unread message, or the end if all unread messages fit. */
	function arrive() {
		isFollowing = true;
		stick();
		const line = list.querySelector('.new-line');
		if (!line || line.offsetTop >= log.scrollTop) return;
		isFollowing = false;
		log.scrollTop = line.offsetTop - 60;
	}

	/** Returns the row that stays in place when rows above it change. The first one may get or lose its head, so not that. */
	function firstInSight() {
		const rows = [...list.children].filter((row) => row.item && row.offsetTop >= log.scrollTop);
		const row = rows[1] ?? rows[0];
		return row && { key: row.item.key, at: row.offsetTop };
	}

	function bring() {
		const row = list.querySelector(`[data-id="${target}"]`);
		target = null;
		if (!row) return;
		log.scrollTop = row.offsetTop - log.clientHeight / 3;
		row.classList.add('found');
		row.focus({ preventScroll: true });
	}

	function scrolled() {
		const was = isFollowing;
		isFollowing = below() < 40 && Boolean(room?.atEnd);
		more();
		if (was !== isFollowing) ui.changed();
	}

	/** Loads more before the user has scrolled there. */
	function more() {
		if (!room || room.loading || !room.joined) return;
		// At the end, more is loaded only if the log is not full.
		if (log.scrollTop < (isFollowing ? 1 : NEAR) && !room.atStart) chat.older(room);
		else if (!room.atEnd && below() < NEAR) chat.newer(room);
	}

	// ---- rows

	const nowhere = {
		key: 'nowhere',
		build: () => el('div.start', {}, el('h2', {}, 'You are not in a room'), el('button.plain', { onclick: ui.find }, 'Find or create one')),
	};

	function rows() {
		const rows = [room.atStart ? { key: 'start', sign: room.name + Boolean(room.topic), build: () => start(room, ui) } : loading('older')];
		let last = null;
		let day = null;
		let isNew = false;
		let head = null;
		const code = fences(room.items, room.atStart);
		for (const item of room.items) {
			if (chat.isIgnored(item.nick)) continue;
			if (item.time && dayOf(item.time) !== day) {
				day = dayOf(item.time);
				last = null;
				const text = dayText(day);
				rows.push({ key: `d${item.key}`, sign: text, build: () => line('date', text) });
			}
			if (!isNew && room.newAfter !== null && item.id > room.newAfter && !chat.isMe(item.nick)) {
				isNew = true;
				last = null;
				rows.push({ key: 'new', build: () => line('new-line', 'New') });
			}
			const isTalk = item.verb === 'MSG' || item.verb === 'FILE';
			// A group begins at the same ids whichever are loaded, so that nothing moves while the user reads.
			const isLong = last && head && (item.time - head.time >= GROUP_MS
				|| (item.id - head.id >= HEAD_IDS / 2 && Math.floor(item.id / HEAD_IDS) !== Math.floor(last.id / HEAD_IDS)));
			const isHead = isTalk && !(last?.nick === item.nick && item.time - last.time < GROUP_MS && !isLong);
			if (isHead) head = item;
			const isCode = code.has(item);
			const isFence = code.get(item) === 'fence';
			const isEdited = room.edited.has(item.id);
			const how = { isHead, isCode, isFence, isEdited, isGone: room.isRemoved(item), size: room.stored.get(item.file) ?? item.size };
			const sign = [isHead, how.isGone, isCode, isFence, how.size, isEdited && item.text, item.events?.length, item.events?.at(-1).time].join();
			rows.push({ key: item.key, sign, build: () => row(item, how) });
			last = isTalk ? item : null;
		}
		if (!room.atEnd) return [...rows, loading('newer')];
		for (const entry of chat.sender.outbox.of(room.name)) {
			const isHead = !(last && chat.isMe(last.nick) && entry.time - last.time < GROUP_MS);
			rows.push({ key: entry.key, sign: entry.state + isHead, build: () => waiting(entry, isHead) });
			last = { nick: chat.nick, time: entry.time };
		}
		return rows;
	}

	function row(item, { isHead, isCode, isFence, isEdited, isGone, size }) {
		const { verb, nick, text } = item;
		if (verb === 'PRESENCE') return el('div.quiet', {}, presenceText(item.events));
		if (verb === 'NOTE') return el('div.quiet.notice', {}, text);
		if (verb === 'TOPIC') {
			const what = text ? [' changed the topic to ', el('em', { dir: 'auto' }, text)] : [' removed the topic'];
			return frame(item, 'div.row.quiet', false, el('div', {}, el('bdi', {}, nick), ...what));
		}
		const found = verb === 'FILE' || isCode ? [] : split(text, chat.isMe(nick) ? '' : chat.nick);
		const isMention = !chat.isMe(nick) && found.some(({ type }) => type === 'me');
		const kinds = [verb === 'ME' && 'act', isHead && 'head', isMention && 'call', isCode && 'code', isFence && 'fence'];
		const content = isCode ? [text] : found.map(inline);
		if (verb === 'ME') content.unshift(button(nick), ' ');
		return frame(item, ['div.row', ...kinds.filter(Boolean)].join('.'), isHead,
			isHead && el('div.by', {}, button(nick), time(item, 'at')),
			isGone ? el('div.text.gone', {}, 'message deleted')
				: verb === 'FILE' ? file({ ...item, size })
					: el('div.text', { dir: 'auto' }, ...content, isEdited && el('span.edited', {}, ' (edited)')));
	}

	/** Creates a nick that opens a conversation with that user. */
	function button(nick) {
		const isMe = chat.isMe(nick);
		const title = isMe ? 'You' : `Send a direct message to ${nick}`;
		return el('button.nick', { hue: nick, tabIndex: -1, dir: 'auto', title, onclick: () => isMe || ui.open(nick) }, nick);
	}

	const split = (text, me) => parts(text, {
		me,
		isNick: (nick) => room.members.has(fold(nick)),
		isRoom: (name) => Boolean(chat.room(name)),
	});

	function inline({ type, text }) {
		switch (type) {
			case 'link':
				return el('a', { href: text, target: '_blank', rel: 'noopener noreferrer' }, text);
			case 'code':
				return el('code', {}, text.replace(/^`+|`+$/g, ''));
			case 'me':
				return el('mark', {}, text);
			case 'nick':
				return el('span.nick', { hue: text.slice(1) }, text);
			case 'room':
				return el('a', { href: addressIn(text) }, text);
			default:
				return text;
		}
	}

	function waiting(entry, isHead) {
		const { nick } = chat;
		const isFailed = entry.state === 'failed';
		const again = (act, text) => el('button.plain', { onclick: () => chat.sender[act](entry) }, text);
		return frame({ nick }, `div.row.${isFailed ? 'failed' : 'waiting'}${isHead ? '.head' : ''}`, isHead,
			isHead && el('div.by', {}, button(nick)),
			el('div.text', { dir: 'auto' }, entry.verb === 'ME' ? `${nick} ${entry.text}` : entry.text),
			isFailed
				? el('div.error', {}, `${entry.error} `, again('retry', 'Retry'), again('discard', 'Delete'))
				: el('span.hidden', {}, 'not sent yet'));
	}

	// ---- keys and tools

	const allRows = () => [...list.querySelectorAll('.row')];

	function pressed(event) {
		const { key, ctrlKey, metaKey, altKey } = event;
		if (ctrlKey || metaKey || altKey) return;
		const all = allRows();
		const row = event.target.closest('.row');
		const at = row ? all.indexOf(row) : all.length;
		if (key === 'ArrowUp') all[Math.max(0, at - 1)]?.focus();
		else if (key === 'ArrowDown' && at + 1 < all.length) all[at + 1].focus();
		else if (key === 'Escape' || key === 'ArrowDown') ui.focusInput();
		else if (key === 'End') toEnd();
		else if (key === 'Delete' && row) row.querySelector('.remove')?.click();
		else return;
		event.preventDefault();
	}

	/** Shows the buttons of a message while it has the pointer or the focus. */
	function offer(event) {
		const row = event.target.closest('.row');
		const item = row?.item;
		if (!item?.id || item.verb === 'TOPIC' || row.contains(tools)) return;
		tools?.remove();
		const isMine = chat.isMe(item.nick);
		const tool = (name, label, onclick, kind = '') => el(`button.tool${kind}`, { 'aria-label': label, title: label, onclick }, icon(name));
		const remove = async () => (await ui.choose('Delete this message for everyone?', { remove: 'Delete' })) && chat.remove(room, item.id);
		tools = el('div.row-tools', { role: 'group', 'aria-label': 'Message' },
			!isMine && tool('reply', `Mention ${item.nick}`, () => ui.mention(item.nick)),
			tool('link', 'Copy link', () => ui.copy(`${location.origin}/${addressIn(room.name, item.id)}`)),
			isMine && !room.isRemoved(item) && tool('bin', 'Delete', remove, '.remove'));
		row.append(tools);
	}

	log.addEventListener('scroll', scrolled, { passive: true });
	log.addEventListener('keydown', pressed);
	list.addEventListener('pointerover', offer);
	list.addEventListener('focusin', offer);
	list.addEventListener('animationend', ({ target }) => target.classList.remove('found'));
	toEndButton.addEventListener('click', toEnd);
	new ResizeObserver(() => {
		height = log.clientHeight;
		if (isFollowing) stick();
	}).observe(log);

	const rowsWanted = () => Math.max(ROWS, Math.ceil((2 * height) / ROW_PX));
	return { update, show, toEnd, rowsWanted, isFollowing: () => isFollowing, focusLast: () => allRows().at(-1)?.focus() };
}
