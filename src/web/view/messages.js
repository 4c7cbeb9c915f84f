// The messages of the active room. The document contains only the room's window (room.js), so its size is bounded.
// Each frame draws what has arrived since the last one.

import { fences, joined } from '../blocks.js';
import { byId, el, setText, sync } from './dom.js';
import { dayOf, dayText, line, loading, quoteOf, rowMaker, start } from './row.js';
import { toolsOf } from './tools.js';

/** The time within which messages of one user share one head, which has the name and the time. */
const GROUP_MS = 5 * 60_000;
/** The distance to an end of the window, in pixels, within which more is loaded. */
const NEAR = 800;
/**
 * The number of rows that are drawn while the user is at the end. If they do not fill twice the height of the log,
 * more are drawn.
 */
const ROWS = 100;
const ROW_PX = 24;
/** The number of further rows that one frame draws at each end while the user scrolls. More would take too long. */
const ROWS_AT_ONCE = 10;

/** The number of ids after which the head is repeated in a long series of one user's messages. */
const HEAD_IDS = 20;

export function messages(chat, ui) {
	const log = byId('log');
	const list = byId('messages');
	const toEndButton = byId('to-end');
	let room = null;
	let isFollowing = true;
	let target = null; // an id to show
	let height = 0;
	let shown = []; // the messages of the room, each text as one
	let isOpened = false; // whether messages of this room have been drawn
	let isWhole = true; // whether all rows are drawn
	let isEndDrawn = true;
	const make = rowMaker(chat, ui);
	const tools = toolsOf(chat, ui);

	/** Requests what a row needs when it becomes visible. */
	const nearby = new IntersectionObserver((changes) => {
		for (const { isIntersecting, target } of changes) {
			if (!isIntersecting) continue;
			nearby.unobserve(target);
			target.wants();
		}
	}, { root: log, rootMargin: '200px' });

	const below = () => log.scrollHeight - log.clientHeight - log.scrollTop;
	const stick = () => (log.scrollTop = log.scrollHeight);

	async function toEnd() {
		await chat.latest(room);
		isFollowing = true;
		stick();
		ui.changed();
	}

	/** Returns whether an item has this id, or this key. A message that the server has not saved has only a key. */
	const is = (wanted) => ({ id, key }) => id === wanted || key === wanted;

	/** Scrolls to a message, loading those around it if necessary. */
	async function show(inRoom, id) {
		const has = () => inRoom.items.some(is(id));
		if (!has()) await chat.around(inRoom, id);
		if (inRoom !== chat.active) return;
		if (!has()) return ui.toast(`Message ${id} is not in ${inRoom.name}. It was deleted, or belongs to another room.`);
		target = id;
		isFollowing = false;
		ui.changed();
	}

	function update() {
		const isOther = room !== chat.active;
		const anchor = !isOther && !isFollowing && firstInSight();
		room = chat.active;
		const all = room ? rows() : [nowhere];
		if (isOther) isOpened = false;
		const some = isOpened && !target ? nearDrawn(all) : all;
		if (room?.items.length) isOpened = true;
		isWhole = some.length === all.length;
		isEndDrawn = some.at(-1) === all.at(-1);
		sync(list, some);
		for (const item of shown) drawReactions(item);
		if (isOther) arrive();
		if (target) bring();
		else if (isFollowing) stick();
		else if (anchor) log.scrollTop += (anchor.now() ?? anchor.at) - anchor.at;
		if (!isWhole) ui.changed();
		more();
		// The user reads further up, so a button shows the number of new messages.
		const unread = room?.unread;
		toEndButton.hidden = isFollowing || !(unread || !room?.atEnd || below() > 300);
		setText(toEndButton.lastChild, unread ? `${unread.toLocaleString()} new` : 'To the newest');
		if (ui.isLooking(room)) chat.seen();
	}

	/**
	 * Returns the rows that are drawn already, and the next ones above and below them. If none is drawn, returns the
	 * newest. The next frames draw the rest.
	 */
	function nearDrawn(all) {
		const isDrawn = ({ key }) => list.rows.get(key)?.element.item;
		const last = all.length - 1;
		const first = all.findIndex(isDrawn);
		const from = (first < 0 ? last - ROWS_AT_ONCE : first) - ROWS_AT_ONCE;
		const to = isFollowing || first < 0 ? last : all.findLastIndex(isDrawn) + ROWS_AT_ONCE;
		return all.filter(({ key }, i) => (i >= from && i <= to) || key === 'older' || key === 'newer');
	}

	/** Shows the first unread message. If all unread messages fit, shows the end. */
	function arrive() {
		isFollowing = true;
		stick();
		const line = list.querySelector('.new-line');
		if (!line || line.offsetTop >= log.scrollTop) return;
		isFollowing = false;
		log.scrollTop = line.offsetTop - 60;
	}

	/**
	 * Returns the row that must stay in place when rows above it change. It is not the first visible row, because that
	 * one may get or lose its head. If the last row fills the log, its end stays in place, because lines may be loaded
	 * at its top.
	 */
	function firstInSight() {
		const rows = [...list.children].filter((row) => row.item);
		const below = rows.filter((row) => row.offsetTop >= log.scrollTop);
		const row = below[1] ?? below[0] ?? rows.at(-1);
		const place = (row) => row && row.offsetTop + (below.length ? 0 : row.offsetHeight);
		return row && { at: place(row), now: () => place(list.rows.get(row.item.key)?.element) };
	}

	function bring() {
		const item = shown.find((item) => is(target)(item) || item.parts?.some(is(target)));
		const row = list.rows.get(item?.key)?.element;
		target = null;
		if (!row) return;
		log.scrollTop = row.offsetTop - log.clientHeight / 3;
		row.classList.add('found');
		row.focus({ preventScroll: true });
	}

	function scrolled() {
		const was = isFollowing;
		isFollowing = below() < 40 && Boolean(room?.atEnd) && isEndDrawn;
		more();
		if (was !== isFollowing) ui.changed();
	}

	/** Loads more before the user has scrolled there. */
	function more() {
		if (!room || room.loading || !room.joined || !isWhole) return;
		// While the user is at the end, more is loaded only if the log is not full.
		if (log.scrollTop < (isFollowing ? 1 : NEAR) && !room.atStart) chat.older(room);
		else if (!room.atEnd && below() < NEAR) chat.newer(room);
	}

	// ---- rows

	const nowhere = {
		key: 'nowhere',
		build: () => el('div.start', {}, el('h2', {}, 'You are not in a room'), el('button.plain', { onclick: ui.find }, 'Find or create one')),
	};

	/** Returns what is above the first message. */
	function first() {
		const isGuest = room.isPrivate ? chat.isGuest : undefined;
		const isKept = room.isPrivate && room.items.some(({ id, time }) => time && !id); // by this browser
		return { key: 'start', sign: [room.name, Boolean(room.topic), isGuest, isKept].join(), build: () => start(room, ui, { isGuest, isKept }) };
	}

	function rows() {
		const rows = [room.atStart ? first() : loading('older')];
		let last = null;
		let day = null;
		let isNew = false;
		let head = null;
		shown = joined(room.items, (item) => room.isRemoved(item));
		const code = fences(room.items, room.atStart);
		for (const item of shown) {
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
			// A group begins at the same ids, whichever messages are loaded, so that nothing moves while the user reads.
			const isLong = last && head && !item.of && (item.time - head.time >= GROUP_MS
				|| (item.id - head.id >= HEAD_IDS / 2 && Math.floor(item.id / HEAD_IDS) !== Math.floor(last.id / HEAD_IDS)));
			const isHead = isTalk && (item.reply || !(last?.nick === item.nick && item.time - last.time < GROUP_MS && !isLong));
			if (isHead) head = item;
			const isCode = code.has(item);
			const isFence = code.get(item) === 'fence';
			const quote = item.reply && quoteIn(item.reply);
			const how = { isHead, isCode, isFence, isGone: room.isRemoved(item) || item.parts?.length === 0, size: room.stored.get(item.file) ?? item.size, quote };
			const sign = [isHead, how.isGone, isCode, isFence, how.size, item.edited && item.text, item.parts?.length, item.isWhole, item.events?.length, item.events?.at(-1).time,
				quote && quote.nick + quote.text, quote?.isUnknown && link()].join();
			rows.push({ key: item.key, sign, build: () => build(item, how) });
			last = isTalk ? item : null;
		}
		if (!room.atEnd) return [...rows, loading('newer')];
		for (const entry of chat.sender.outbox.of(room.name)) {
			const isHead = entry.reply || !(last && chat.isMe(last.nick) && entry.time - last.time < GROUP_MS);
			rows.push({ key: entry.key, sign: entry.state + isHead, build: () => make.waiting(entry, isHead, entry.reply && quoteIn(entry.reply)) });
			last = { nick: chat.nick, time: entry.time };
		}
		return rows;
	}

	/**
	 * Returns a value that is different for each connection, so that requests without an answer can be sent again.
	 */
	const link = () => chat.isReady && room.connections;

	/** Returns the part of a message that a reply to it shows. */
	function quoteIn(id) {
		const quote = quoteOf(room, id);
		return chat.isIgnored(quote.nick) ? { ...quote, text: 'a message of a user that you ignore', isGone: true } : quote;
	}

	const partsOf = (item) => item.parts ?? [item];

	/** Creates a row. If something about it is not known yet, waits until it becomes visible. */
	function build(item, how) {
		const inRoom = room;
		const row = make.row(room, item, how);
		row.wants = () => {
			if (item.reply && inRoom.message(item.reply) === undefined) chat.quote(inRoom, item.reply);
			for (const { id } of partsOf(item)) {
				if (id && chat.can.has('react') && inRoom.needsReacts(inRoom.message(id) ?? {})) chat.reacts(inRoom, id);
			}
		};
		if (item.reply && room.message(item.reply) === undefined) nearby.observe(row);
		return row;
	}

	function drawReactions(item) {
		const row = list.rows.get(item.key)?.element;
		if (!row?.wants) return;
		const isAgain = row.link !== link();
		row.link = link();
		const parts = partsOf(item);
		if (!isAgain && parts.every(({ id, reacts, isUnsure }) => !isUnsure && reacts === row.reacts?.get(id))) return;
		if (parts.some((part) => room.needsReacts(part))) nearby.observe(row);
		make.reactions(room, row, item, room.isRemoved(item) ? [] : parts);
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
		else if (key === 'Enter' && row === event.target) row.querySelector('.quote')?.click();
		else if (!(row === event.target && tools.pressed(room, row.item, key))) return;
		event.preventDefault();
	}

	log.addEventListener('scroll', scrolled, { passive: true });
	log.addEventListener('keydown', pressed);
	for (const type of ['pointerover', 'focusin']) {
		list.addEventListener(type, ({ target }) => tools.offer(room, target.closest('.row')));
	}
	list.addEventListener('animationend', ({ target }) => target.classList.remove('found'));
	toEndButton.addEventListener('click', toEnd);
	new ResizeObserver(() => {
		height = log.clientHeight;
		if (isFollowing) stick();
	}).observe(log);

	const rowsWanted = () => Math.max(ROWS, Math.ceil((2 * height) / ROW_PX));
	return { update, show, toEnd, rowsWanted, resized: scrolled, isFollowing: () => isFollowing, focusLast: () => allRows().at(-1)?.focus() };
}
