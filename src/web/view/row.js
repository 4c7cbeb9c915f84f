// Creates the rows of the log: messages with what they reply to, joins and leaves, and notices.

import { ends, isAligned, sections } from '../blocks.js';
import { isPicture, linkTo, showIn } from '../files.js';
import { hasReacted, whoText } from '../reactions.js';
import { PRIVATE_MAX } from '../talks.js';
import { parts, size as sizeText } from '../text.js';
import { fold, isRoom } from '../wire.js';
import { avatar, el, icon, sync } from './dom.js';

const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
/** Formats a time without AM or PM, for the narrow column beside a message. */
const short = (time) => clock.formatToParts(time).filter(({ type }) => type !== 'dayPeriod').map(({ value }) => value).join('').trim();
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'full' });

export const dayOf = (time) => new Date(time).setHours(0, 0, 0, 0);
export const dayText = (day) => (day === dayOf(Date.now()) ? 'Today' : date.format(day));

/** Returns the address of a room, message or conversation: `#lobby`, `#lobby/1234`, `#@bob`. */
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

export const loading = (key) => ({ key, build: () => el('div.loading', {}, 'Loading…') });
export const line = (kind, text) => el(`div.line.${kind}`, { role: 'separator', 'aria-label': text }, el('span', {}, text));

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

/** Returns who keeps the direct messages with another user, and for how long. */
function keptText(name, isGuest) {
	const kept = `only this browser keeps these messages: at most the newest ${PRIVATE_MAX}, until you delete them`;
	if (isGuest) return `Your name is not registered, so ${kept}. Unless ${name} is registered, somebody else may use that name later.`;
	if (isGuest === false) return `Unless ${name} has registered too, ${kept}; and somebody else may use the name ${name} later.`;
	return `Unless both of you have registered, ${kept}.`;
}

/** Creates what is shown above the first message of a room or conversation. */
export function start(room, ui, { isGuest, isKept }) {
	const { name, isPrivate, topic } = room;
	const act = (name, onclick, text) => el('button.plain', { onclick }, icon(name), text);
	return el('div.start', {}, el('h2', {}, isPrivate ? `You and ${name}` : `This is where ${name} begins`),
		el('p', {}, isPrivate
			? keptText(name, isGuest)
			: 'Write a message, or drop a file here. People who join later can read it.'),
		el('div.acts', {},
			isGuest && act('lock', () => ui.panel('you'), 'Register your name'),
			!isPrivate && act('link', () => ui.copy(`${location.origin}/${addressIn(name)}`), 'Copy invite link'),
			!isPrivate && !topic && act('pen', () => ui.editTopic(), 'Add a topic'),
			!isGuest && act('plus', () => ui.command('upload'), 'Send a file'),
			isKept && act('bin', () => ui.deleteTalks(room), 'Delete these messages')));
}

/** Shows the pictures of direct messages as they come into view. */
const inView = new IntersectionObserver((entries) => {
	for (const { isIntersecting, target } of entries) {
		if (!isIntersecting) continue;
		inView.unobserve(target);
		target.show();
	}
});

/** Creates a file, or a small picture. A click on a picture shows it in front of the page, by `look`. */
function file(item, chat, look) {
	const name = linkTo(el('a.name', { download: item.name, dir: 'auto' }, item.name), item, chat);
	const about = el('span.size', {}, sizeText(item.size));
	const plain = () => el('div.file', {}, icon('clip'), el('div', {}, name, about));
	if (!isPicture(item.name, item.size)) return plain();
	const onclick = (event) => {
		if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab or window
		event.preventDefault();
		look(item.file);
	};
	const onerror = () => figure.replaceWith(plain());
	const picture = el('img', { alt: '', loading: 'lazy', onerror });
	if (isRoom(item.room)) showIn(picture, item, chat);
	else inView.observe(Object.assign(picture, { show: () => showIn(picture, item, chat) }));
	const figure = el('figure', {},
		linkTo(el('a.thumb', { target: '_blank', 'aria-label': `Show ${item.name}`, onclick }, picture), item, chat),
		el('figcaption', {}, name, ' ', about));
	return figure;
}

/** Returns what holds a text. One that is laid out with spaces keeps its columns. */
const textTag = (text) => (isAligned(text) ? 'div.text.mono' : 'div.text');

/** The size from which on a message is folded. */
const LONG_LINES = 12;
const LONG_CHARACTERS = 1500;
/** The number of lines that are shown at the beginning of a folded message. */
const FOLDED_LINES = 8;

const isLong = (text = '') => text.length > LONG_CHARACTERS || text.split('\n', LONG_LINES + 1).length > LONG_LINES;

/** The number of characters that are shown of a quoted message. */
const QUOTE_MAX = 200;

/**
 * Returns what a row shows of the message to which it replies: `{nick, text}`. If that message no longer exists,
 * `isGone` is set.
 */
export function quoteOf(room, id) {
	const item = room.message(id);
	if (item === undefined) return { nick: '', text: 'Loading…', isGone: true, isUnknown: true };
	if (item === null) return { nick: '', text: 'a message that is no longer there', isGone: true };
	const { nick, verb, text } = item;
	if (room.isRemoved(item)) return { nick, text: 'message deleted', isGone: true };
	return { nick, text: (verb === 'FILE' ? item.name : text).slice(0, QUOTE_MAX) };
}

export function rowMaker(chat, ui) {
	/** Creates the row of an item. `quote` is `{nick, text}`, the message to which it replies. */
	function row(room, item, { isHead, isCode, isFence, isGone, size, quote }) {
		const { verb, nick, text } = item;
		if (verb === 'PRESENCE') return el('div.quiet', {}, presenceText(item.events));
		if (verb === 'NOTE') return el('div.quiet.notice', {}, text);
		if (verb === 'TOPIC') {
			const what = text ? [' changed the topic to ', el('em', { dir: 'auto' }, text)] : [' removed the topic'];
			return frame(item, 'div.row.quiet', false, el('div', {}, el('bdi', {}, nick), ...what));
		}
		const blocks = verb === 'FILE' || isGone ? [] : isCode || !item.parts ? [{ text, isCode }] : sections(text, item.isWhole);
		const find = (text) => split(room, text, chat.isMe(nick) ? '' : chat.nick, item.isForAll);
		for (const block of blocks) block.found = block.isCode ? [] : find(block.text);
		const isMention = !chat.isMe(nick) && (blocks.some(({ found }) => found.some(({ type }) => type === 'me')) || chat.isMe(quote?.nick ?? ''));
		const kinds = [verb === 'ME' && 'act', isHead && 'head', isMention && 'call', isCode && 'code', isFence && 'fence'];
		const edited = item.edited && el('span.edited', { title: whole.format(item.edited) }, ' (edited)');
		/** Creates the content of blocks, which ends with `mark`. `begins` says whether they begin the text. */
		const content = (blocks, begins, mark) => blocks.map(({ text, isCode, whole = text, found = find(text) }, i) => {
			const end = i === blocks.length - 1 && mark;
			if (isCode && item.parts) return snippet(text, whole, end);
			return el(textTag(whole), { dir: 'auto' }, ...(begins && verb === 'ME' ? [button(nick), ' '] : []), ...(isCode ? [text] : found.map(inline)), end);
		});
		return frame(item, ['div.row', ...kinds.filter(Boolean)].join('.'), isHead,
			isHead && el('div.by', {}, button(nick), time(item, 'at')),
			quote && !isGone && quoted(room, item.reply, quote),
			isGone ? el('div.text.gone', {}, 'message deleted') : verb === 'FILE' && file({ ...item, size }, chat, ui.look),
			...(blocks.length && isLong(text) ? folded(room, item, blocks, content, edited) : content(blocks, true, edited)));
	}

	/** Creates a long message, of which only the first lines and the last one are shown until a button is pressed. */
	function folded(room, { key }, blocks, content, edited) {
		const { begin, count, end } = ends(blocks, FOLDED_LINES);
		const [box, more, last] = [el('div'), el('button.plain.unfold', { onclick: toggle }), el('div.folded')];
		function draw() {
			const isWhole = room.unfolded.has(key);
			box.className = isWhole ? '' : 'folded';
			box.replaceChildren(...content(isWhole ? blocks : begin, true, (isWhole || !end.length) && edited));
			last.replaceChildren(...(isWhole ? [] : content(end, false, edited)));
			more.textContent = isWhole ? 'Show less' : count ? `… ${count} more line${count > 1 ? 's' : ''} …` : 'Show all';
			more.ariaExpanded = String(isWhole);
		}
		function toggle() {
			if (!room.unfolded.delete(key)) room.unfolded.add(key);
			draw();
			ui.resized();
		}
		draw();
		return [box, more, last];
	}

	/** Creates a code block or a part of it, with a button that copies the `whole` block. */
	const snippet = (text, whole, end) => el('div.snippet', {}, el('pre', { dir: 'ltr' }, text),
		el('button.tool.copy', { title: 'Copy', 'aria-label': 'Copy the code', tabIndex: -1, onclick: () => ui.copy(whole) }, icon('copy')), end);

	/** Draws the reactions to a message, and to any of its `parts`, below it. */
	function reactions(room, row, item, parts) {
		row.reacts = new Map(parts.map(({ id, reacts }) => [id, reacts]));
		row.item = item;
		const all = parts.flatMap(({ id, reacts = [] }) => reacts.map((reaction) => ({ id, reacts, reaction })));
		let chips = row.querySelector('.chips');
		if (!all.length) return void chips?.remove();
		if (!chips) row.append((chips = el('div.chips', { role: 'group', 'aria-label': 'Reactions' })));
		const chip = ({ id, reacts, reaction: { emoji, count } }) => {
			const isMine = hasReacted(reacts, emoji, chat.nick);
			const onclick = () => chat.react(room, id, emoji);
			const build = () => el('button.chip', { 'aria-pressed': String(isMine), tabIndex: row.tabs ? 0 : -1, onclick }, emoji, el('span', {}, count.toLocaleString()));
			return { key: `${id} ${emoji}`, sign: `${isMine} ${count}`, build };
		};
		const more = { key: 'more', build: () => el('button.chip.more', { title: 'React', 'aria-label': 'React', tabIndex: row.tabs ? 0 : -1, onclick: () => ui.react(item) }, icon('smile')) };
		sync(chips, [...all.map(chip), more]);
		// The names arrive later than the numbers, and change nothing that is laid out.
		for (const [i, { reaction }] of all.entries()) {
			const who = whoText(reaction, chat.nick);
			Object.assign(chips.children[i], { title: who, ariaLabel: `${reaction.emoji} ${who}` });
		}
	}

	/** Creates the line of the message to which another one replies. A click on it shows that message. */
	function quoted(room, id, { nick, text, isGone }) {
		const said = el(`span.said${isGone ? '.gone' : ''}`, { dir: 'auto' }, text);
		return el('button.quote', { tabIndex: -1, title: 'Show the message', onclick: () => ui.show(room.name, id) },
			icon('reply'), el('span.hidden', {}, 'In reply to '), nick && el('bdi.nick', { hue: nick }, nick), said);
	}

	/** Creates a nick that opens a conversation with that user. */
	function button(nick) {
		const isMe = chat.isMe(nick);
		const title = isMe ? 'You' : `Send a direct message to ${nick}`;
		return el('button.nick', { hue: nick, tabIndex: -1, dir: 'auto', title, onclick: () => isMe || ui.open(nick) }, nick);
	}

	const split = (room, text, me, isForAll) => parts(text, {
		me,
		isForAll,
		isNick: (nick) => room.members.has(fold(nick)),
		isRoom: (name) => Boolean(chat.room(name)),
	});

	function inline({ type, text, href }) {
		switch (type) {
			case 'link':
				return el('a', { href, target: /^mailto/i.test(href) ? '' : '_blank', rel: 'noopener noreferrer' }, text);
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

	/** Creates the row of a message that the server has not acknowledged yet. */
	function waiting(entry, isHead, quote) {
		const { nick } = chat;
		const isFailed = entry.state === 'failed';
		const again = (act, text) => el('button.plain', { onclick: () => chat.sender[act](entry) }, text);
		return frame({ nick }, `div.row.${isFailed ? 'failed' : 'waiting'}${isHead ? '.head' : ''}`, isHead,
			isHead && el('div.by', {}, button(nick)),
			quote && quoted(chat.room(entry.to), entry.reply, quote),
			...(entry.verb === 'TEXT' ? sections(entry.text) : [entry]).map(({ isCode, text }) =>
				(isCode ? snippet(text) : el(textTag(text), { dir: 'auto' }, entry.verb === 'ME' ? `${nick} ${text}` : text))),
			isFailed
				? el('div.error', {}, `${entry.error} `, again('retry', 'Retry'), again('discard', 'Delete'))
				: el('span.hidden', {}, 'not sent yet'));
	}

	return { row, waiting, reactions };
}
